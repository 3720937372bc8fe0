//! The decisions of AdaLoRA: how triplets are scored, which are pruned, when they are dropped.

use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::allocate::{Allocation, above, threshold};
use super::delta::effective;
use super::target::{A, AdaLoraTarget, B, E};
use super::{AdaLoraConfig, AdaLoraDelta, Orthogonality, RankImportance};
use crate::adapter::Adapter;
use crate::adapter::low_rank::{Factor, Given, LowRankTarget, Update, draw, trained};
use crate::method::{Attachments, Event, Method};
use crate::rng::path_rng;
use crate::schedule::{BudgetSchedule, DenseSchedule};
use crate::store::AdapterFile;
use crate::{Catalogue, Error, ParamInfo, Params, Plan, Record};

/// Standard deviation of the first singular vectors, as in the references.
const INIT_STD: f32 = 0.02;

/// AdaLoRA.
#[derive(Debug)]
pub struct AdaLora {
    pub(super) config: AdaLoraConfig,
    pub(super) schedule: DenseSchedule,
    pub(super) budget: BudgetSchedule,
    pub(super) targets: Vec<AdaLoraTarget>,
    /// Whether the last cut was made.
    pub(super) allocated: bool,
    /// What a file gave to start from.
    pub(super) given: Given,
}

/// Values of a weight's factors after a step, and the gradients they were stepped by.
type Stepped = Vec<(Tensor<2>, Option<Tensor<2>>)>;

impl AdaLora {
    /// The method, not yet attached to a model.
    ///
    /// # Errors
    /// [`Error::Setting`] if the configuration is invalid, a schedule that leaves no time to cut
    /// included.
    pub fn new(config: AdaLoraConfig) -> Result<Self, Error> {
        config.validate()?;
        let (schedule, budget) = (config.schedule(), config.budget(1));
        let (targets, given) = Default::default();
        Ok(Self { config, schedule, budget, targets, allocated: false, given })
    }

    /// The rank budget over the run.
    pub fn budget(&self) -> &BudgetSchedule {
        &self.budget
    }

    /// Which of the first `init_r` triplets of each weight the latest cut kept, by path.
    pub fn rank_pattern(&self) -> impl Iterator<Item = (&str, &[bool])> {
        self.targets.iter().map(|target| (target.low_rank.path.as_str(), target.kept.as_slice()))
    }

    fn target(&self, param: &ParamInfo) -> Result<(AdaLoraTarget, AdaLoraDelta), Error> {
        let config = &self.config;
        let (data, kept) = match self.given(param) {
            Some(given) => given,
            None => (random(config, param), vec![true; config.init_r]),
        };
        let [a, e, b] = data.map(|data| trained(data, &param.device));
        let factors = vec![
            Factor::new("lora_a", &a, Some(1)),
            Factor::new("lora_e", &e, Some(1)),
            Factor::new("lora_b", &b, Some(0)),
        ];
        let low_rank = LowRankTarget::new(param, factors);
        let delta = AdaLoraDelta::new([a, e, b], config.scaling(), config.lora_dropout);
        Ok((AdaLoraTarget { low_rank, importance: vec![], kept }, delta))
    }

    /// An adapter that was trained must have been allocated; one from a file may be used as it is.
    pub(super) fn require_allocated(&self, steps: usize) -> Result<(), Error> {
        match self.allocated || steps == 0 {
            true => Ok(()),
            false => Err(Error::NotAllocated { steps, last_cut: self.budget.last_cut() }),
        }
    }

    fn stepped(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Vec<Stepped>, Error> {
        let (optimizer, learning_rate) = (self.config.optimizer, self.learning_rate(step));
        let update = Update { optimizer, learning_rate, t: step + 1 };
        self.targets.iter_mut().map(|t| t.low_rank.stepped(&update, params, grads)).collect()
    }

    /// Scores of all triplets, by weight, where a cut at `step` needs them.
    fn scores(
        &mut self,
        step: usize,
        due: bool,
        stepped: &[Stepped],
    ) -> Result<Option<Vec<Vec<f32>>>, Error> {
        let gathers = !self.allocated && step < self.budget.total_step - self.budget.tfinal;
        let mut scores = Vec::new();
        for (target, stepped) in self.targets.iter_mut().zip(stepped) {
            if gathers && self.config.importance == RankImportance::Smoothed {
                target.gather(stepped, &self.config);
            }
            if due {
                scores.push(target.scores(stepped, self.config.importance));
            }
        }
        match due {
            true => self.read(scores).map(Some),
            false => Ok(None),
        }
    }

    /// Reads the scores of all weights back from the device at once.
    fn read(&self, scores: Vec<Tensor<2>>) -> Result<Vec<Vec<f32>>, Error> {
        let all: Vec<f32> = Tensor::cat(scores, 1).into_data().iter::<f32>().collect();
        Ok(all.chunks(self.config.init_r).map(<[f32]>::to_vec).collect())
    }

    /// Prunes all triplets but those the budget of `step` keeps.
    fn cut(&mut self, step: usize, scores: &[Vec<f32>]) -> Result<Allocation, Error> {
        let unusable = scores.iter().position(|scores| scores.iter().any(|s| !s.is_finite()));
        if let Some(index) = unusable {
            let path = self.targets[index].low_rank.path.clone();
            return Err(Error::NotFinite { path, step });
        }
        let budget = match step == self.budget.last_cut() {
            true => self.budget.target,
            false => self.budget.budget(step),
        };
        let threshold = threshold(scores, self.budget.initial - budget);
        for (target, scores) in self.targets.iter_mut().zip(scores) {
            target.kept = above(scores, threshold);
        }
        let ranks = self.targets.iter().map(|t| (t.low_rank.path.clone(), t.rank())).collect();
        Ok(Allocation { budget, threshold, ranks })
    }

    /// Plans what a step left, pruned triplets dropped or masked.
    fn plan(&mut self, step: usize, due: bool, stepped: Vec<Stepped>, plan: &mut Plan) {
        let last = due && step == self.budget.last_cut();
        let masks = due || (self.allocated && !self.config.compact);
        for (target, stepped) in self.targets.iter_mut().zip(stepped) {
            let mut values: Vec<_> = stepped.into_iter().map(|(value, _)| value).collect();
            if masks && target.low_rank.rank() == target.kept.len() {
                values[E] = target.masked(values[E].clone());
            }
            if last {
                target.importance.clear();
            }
            if last && self.config.compact {
                let keep = target.kept_indices();
                target.low_rank.shrink(values, &keep, plan);
                continue;
            }
            for (factor, value) in target.low_rank.factors.iter().zip(values) {
                plan.set(factor.id, value);
            }
        }
        self.allocated |= last;
    }
}

impl Method for AdaLora {
    fn name(&self) -> &'static str {
        "adalora"
    }

    fn total_steps(&self) -> Option<usize> {
        Some(self.config.total_steps)
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error> {
        self.given.place(catalogue)?;
        let mut attachments = Attachments::default();
        let all = self.config.target_modules.is_all_linear();
        let head = self.config.output_head.as_deref().filter(|_| all);
        for param in self.config.targeting().select(catalogue, head)? {
            let (target, delta) = self.target(param)?;
            attachments.adapters.push((param.id, Adapter::AdaLora(delta)));
            self.targets.push(target);
        }
        self.budget = self.config.budget(self.targets.len());
        Ok(attachments)
    }

    fn initialize(&mut self, _: &Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.given.plan(&mut plan);
        Ok(plan)
    }

    fn observe(
        &mut self,
        _: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Option<Tensor<1>>, Error> {
        let (form, mut weight) = (self.config.orthogonality, self.config.orth_reg_weight);
        if weight == 0.0 {
            return Ok(None);
        }
        if form == Orthogonality::MeanNorm {
            weight /= (2 * self.targets.len()) as f64;
        }
        let mut total: Option<Tensor<1>> = None;
        for target in self.targets.iter().filter(|target| target.low_rank.rank() > 0) {
            let (value, gradients) = target.penalty(form, params)?;
            total = Some(match total {
                Some(total) => total.add(value),
                None => value,
            });
            for (index, penalty) in gradients {
                let id = target.low_rank.factors[index].id;
                let penalty = penalty.mul_scalar(weight);
                let grad = match grads.remove::<2>(id) {
                    Some(grad) => grad.add(penalty),
                    None => penalty,
                };
                grads.register(id, grad);
            }
        }
        Ok(total.map(|total| total.mul_scalar(weight)))
    }

    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let stepped = self.stepped(step, params, grads)?;
        let last = self.budget.last_cut();
        let due = !self.allocated && (step == last || (step < last && self.budget.mask_due(step)));
        if let Some(scores) = self.scores(step, due, &stepped)? {
            plan.report(Event::Allocation(self.cut(step, &scores)?));
        }
        self.plan(step, due, stepped, &mut plan);
        Ok(plan)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        self.config.learning_rate * self.schedule.multiplier(step)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error> {
        self.require_allocated(step)?;
        let (mut plan, step) = (Plan::default(), step.saturating_sub(1));
        for AdaLoraTarget { low_rank, .. } in &self.targets {
            let [a, e, b] = [A, E, B].map(|index| low_rank.value(index, params));
            let weight = match low_rank.rank() {
                0 => low_rank.base(params)?,
                _ => effective(low_rank.base(params)?, [a?, e?, b?], self.config.scaling()),
            };
            low_rank.fold(weight, step, params, &mut plan)?;
        }
        Ok(plan)
    }

    fn detach(&self, params: &Params) -> Result<Plan, Error> {
        self.given.require_reversible()?;
        let mut plan = Plan::default();
        self.targets.iter().try_for_each(|t| t.low_rank.clear(params, &mut plan))?;
        Ok(plan)
    }

    fn export(&self, _: usize, params: &Params) -> Result<Option<AdapterFile>, Error> {
        Ok(Some(AdapterFile::Peft(Box::new(self.to_adapter(params)?))))
    }

    fn record(&self, params: &Params) -> Result<Record, Error> {
        self.to_record(params)
    }

    fn restore(&mut self, _: usize, record: &Record, params: &Params) -> Result<Plan, Error> {
        self.restore_record(record, params)
    }
}

/// A and B normal, E zero.
fn random(config: &AdaLoraConfig, param: &ParamInfo) -> [TensorData; 3] {
    let ([rows, cols], r) = ([param.shape[0], param.shape[1]], config.init_r);
    let mut rng = path_rng(config.seed, &param.path);
    let mut normal =
        |shape| draw(shape, &mut rng, |rng| INIT_STD * rng.sample::<f32, _>(StandardNormal));
    [normal([rows, r]), TensorData::zeros::<f32, _>([1, r]), normal([r, cols])]
}
