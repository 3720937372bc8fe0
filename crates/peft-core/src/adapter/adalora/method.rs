//! AdaLoRA as a method: attachment, updates, merging.

use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::delta::effective;
use super::target::{A, AdaLoraTarget, B, E};
use super::{AdaLoraConfig, AdaLoraDelta, Orthogonality};
use crate::adapter::Adapter;
use crate::adapter::low_rank::{Factor, Given, LowRankTarget, draw, trained};
use crate::method::{Attachments, Event, Method};
use crate::rng::path_rng;
use crate::schedule::BudgetSchedule;
use crate::store::AdapterFile;
use crate::{Catalogue, Error, ParamInfo, Params, Plan, Record};

/// Standard deviation of the first singular vectors, as in the references.
const INIT_STD: f32 = 0.02;

/// AdaLoRA.
#[derive(Debug)]
pub struct AdaLora {
    pub(super) config: AdaLoraConfig,
    pub(super) budget: BudgetSchedule,
    pub(super) targets: Vec<AdaLoraTarget>,
    /// Whether the last cut was made.
    pub(super) allocated: bool,
    /// What a file gave to start from.
    pub(super) given: Given,
}

impl AdaLora {
    /// The method, not yet attached to a model.
    ///
    /// # Errors
    /// [`Error::Setting`] if the configuration is invalid, a schedule that leaves no time to cut
    /// included.
    pub fn new(config: AdaLoraConfig) -> Result<Self, Error> {
        config.validate()?;
        let budget = config.budget(1);
        let (targets, given) = Default::default();
        Ok(Self { config, budget, targets, allocated: false, given })
    }

    /// The rank budget over the run.
    pub fn budget(&self) -> &BudgetSchedule {
        &self.budget
    }

    /// Which of the first `init_r` triplets of each weight the latest cut kept, by path.
    pub fn rank_pattern(&self) -> impl Iterator<Item = (&str, &[bool])> {
        self.targets.iter().map(|target| (target.low_rank.path.as_str(), target.kept.as_slice()))
    }

    fn target(&self, param: &ParamInfo) -> (AdaLoraTarget, AdaLoraDelta) {
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
        (AdaLoraTarget { low_rank, importance: vec![], kept }, delta)
    }

    /// Refuses to pass ranks on that are not decided: an adapter that keeps them all is LoRA.
    ///
    /// # Errors
    /// [`Error::NotAllocated`], or [`Error::UndecidedRanks`] for an adapter as its file had it.
    pub(super) fn require_allocated(&self, steps: usize) -> Result<(), Error> {
        match (self.allocated, steps) {
            (true, _) => Ok(()),
            (false, 0) if self.given.is_from_file() => Err(Error::UndecidedRanks),
            _ => Err(Error::NotAllocated { steps, last_cut: self.budget.last_cut() }),
        }
    }
}

impl Method for AdaLora {
    fn name(&self) -> &'static str {
        "adalora"
    }

    fn total_steps(&self) -> Option<usize> {
        Some(self.config.total_steps)
    }

    fn may_end_early(&self) -> bool {
        false // before its last cut it would be LoRA
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error> {
        self.given.place(catalogue)?;
        let (mut attachments, mut targets) = (Attachments::default(), Vec::new());
        for param in self.config.shared().select(catalogue)? {
            let (target, delta) = self.target(param);
            attachments.adapters.push((param.id, Adapter::AdaLora(delta)));
            targets.push(target);
        }
        self.targets = targets;
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
        let (update, mut plan) = (self.config.shared().update(step), Plan::default());
        let targets = self.targets.iter_mut();
        let stepped = targets.map(|target| target.low_rank.stepped(&update, params, grads));
        let stepped = stepped.collect::<Result<Vec<_>, Error>>()?;
        self.gather(step, &stepped);
        let due = self.cut_due(step);
        if due {
            plan.report(Event::Allocation(self.cut(step, &stepped)?));
        }
        self.plan(step, due, stepped, &mut plan);
        Ok(plan)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        self.config.shared().learning_rate(step)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error> {
        self.require_allocated(step)?;
        let (mut plan, step) = (Plan::default(), step.saturating_sub(1));
        self.given.require_finite(step, params)?;
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

    fn export(&self, step: usize, params: &Params) -> Result<Option<AdapterFile>, Error> {
        Ok(Some(AdapterFile::Peft(Box::new(self.to_adapter(step, params)?))))
    }

    fn record(&self, params: &Params) -> Result<Record, Error> {
        self.to_record(params)
    }

    fn restore(&mut self, step: usize, record: &Record, params: &Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.given.plan(&mut plan);
        self.restore_record(step, record, params, &mut plan)?;
        Ok(plan)
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
