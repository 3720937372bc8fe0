//! LoRA as a method: attachment, updates, merging.

use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor, TensorData};

use super::delta::{column_norms, effective};
use super::init::{kaiming, pissa};
use super::{LoraConfig, LoraDelta, LoraInit};
use crate::adapter::Adapter;
use crate::adapter::low_rank::{Factor, Given, LowRankTarget, Update, trained};
use crate::error::check;
use crate::method::{Attachments, Method};
use crate::schedule::DenseSchedule;
use crate::store::AdapterFile;
use crate::{Catalogue, Error, ParamInfo, Params, Plan, Record};

/// LoRA, DoRA or PiSSA, as the configuration says.
#[derive(Debug)]
pub struct Lora {
    pub(super) config: LoraConfig,
    pub(super) schedule: DenseSchedule,
    pub(super) targets: Vec<LoraTarget>,
    /// What a file gave to start from.
    pub(super) given: Given,
}

/// An adapted weight.
#[derive(Debug)]
pub(super) struct LoraTarget {
    pub low_rank: LowRankTarget,
    pub rank: usize,
    pub scaling: f64,
    /// What PiSSA took out of the weight, on the host: a merge gives it back through the trained
    /// factors, an export as plain LoRA subtracts it.
    pub taken: Option<[TensorData; 2]>,
}

impl Lora {
    /// The method, not yet attached to a model.
    ///
    /// # Errors
    /// [`Error::Setting`] if the configuration is invalid.
    pub fn new(config: LoraConfig) -> Result<Self, Error> {
        config.validate()?;
        let schedule = config.schedule();
        Ok(Self { config, schedule, targets: Vec::new(), given: Given::default() })
    }

    fn target(
        &self,
        param: &ParamInfo,
        (rank, scaling): (usize, f64),
    ) -> Result<(LoraTarget, LoraDelta), Error> {
        let config = &self.config;
        let [d_input, d_output] = [param.shape[0], param.shape[1]];
        let zeros = |rows, cols| TensorData::zeros::<f32, _>([rows, cols]);
        let data = match self.given(param) {
            Some(given) => given,
            None => {
                let a = kaiming([d_input, rank], config.seed, &param.path);
                let magnitude = config.use_dora.then(|| zeros(1, d_output));
                [a, zeros(rank, d_output)].into_iter().chain(magnitude).collect()
            }
        };
        let mut matrices = data.into_iter().map(|data| trained(data, &param.device));
        let mut next =
            || matrices.next().ok_or_else(|| Error::ParameterGone { path: param.path.clone() });
        let (lora_a, lora_b, magnitude) = (next()?, next()?, matrices.next());
        let mut factors = vec![
            Factor::new("lora_a", &lora_a, Some(1)),
            Factor::new("lora_b", &lora_b, Some(0)).with_lr_ratio(config.loraplus_lr_ratio),
        ];
        factors.extend(magnitude.as_ref().map(|m| Factor::new("magnitude", m, None)));
        let low_rank = LowRankTarget::new(param, factors);
        let delta = LoraDelta::new(lora_a, lora_b, magnitude, scaling, config.lora_dropout);
        Ok((LoraTarget { low_rank, rank, scaling, taken: None }, delta))
    }
}

impl LoraTarget {
    /// Sets what depends on the weight: magnitudes, and PiSSA's factors.
    fn initialize(
        &mut self,
        config: &LoraConfig,
        given: bool,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        if given {
            return Ok(());
        }
        let weight = self.low_rank.base(params)?;
        if config.use_dora {
            plan.set(self.low_rank.factors[2].id, column_norms(weight.clone()));
        }
        match config.init_lora_weights {
            LoraInit::Kaiming => Ok(()),
            LoraInit::Pissa => self.take_principal(weight, None, config.seed, params, plan),
            LoraInit::PissaNiter(n) => {
                self.take_principal(weight, Some(n), config.seed, params, plan)
            }
        }
    }

    /// Moves the principal part of the weight into the factors.
    fn take_principal(
        &mut self,
        weight: Tensor<2>,
        iterations: Option<usize>,
        seed: u64,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let LowRankTarget { path, base, shape, factors } = &self.low_rank;
        check(
            self.rank <= shape[0].min(shape[1]),
            "r",
            format!("{} for `{path}` of shape {shape:?}", self.rank),
            "at most the weight's smaller dimension with PiSSA",
        )?;
        if !weight.clone().is_finite().all().into_scalar::<bool>() {
            return Err(Error::NotFinite { path: path.clone(), step: 0 }); // no decomposition
        }
        let dtype = params.require(*base, path)?.dtype();
        let [a, b] = pissa(weight.clone(), self.rank, self.scaling, iterations, seed, path);
        let principal = a.clone().matmul(b.clone()).mul_scalar(self.scaling);
        plan.set(*base, weight.sub(principal).cast(FloatDType::from(dtype)));
        plan.set(factors[0].id, a.clone());
        plan.set(factors[1].id, b.clone());
        self.taken = Some([a.into_data(), b.into_data()]);
        Ok(())
    }

    /// The weight with its adapter folded in, f32.
    fn effective(&self, params: &Params) -> Result<Tensor<2>, Error> {
        let mut values = self.low_rank.values(params)?.into_iter();
        let base = self.low_rank.base(params)?;
        match (values.next(), values.next()) {
            (Some(a), Some(b)) => Ok(effective(base, [a, b], values.next(), self.scaling)),
            _ => Ok(base),
        }
    }
}

impl Method for Lora {
    fn name(&self) -> &'static str {
        match (self.config.use_dora, self.config.init_lora_weights) {
            (true, _) => "dora",
            (false, LoraInit::Kaiming) => "lora",
            (false, LoraInit::Pissa | LoraInit::PissaNiter(_)) => "pissa",
        }
    }

    fn total_steps(&self) -> Option<usize> {
        Some(self.config.total_steps)
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error> {
        self.given.place(catalogue)?;
        let (ranks, mut targets) = (self.config.ranks()?, Vec::new());
        let mut attachments = Attachments::default();
        let all = self.config.target_modules.is_all_linear();
        let head = self.config.output_head.as_deref().filter(|_| all);
        for param in self.config.targeting().select(catalogue, head)? {
            let (target, delta) = self.target(param, ranks.of(param.module_path()))?;
            attachments.adapters.push((param.id, Adapter::Lora(delta)));
            targets.push(target);
        }
        self.targets = targets;
        Ok(attachments)
    }

    fn initialize(&mut self, params: &Params) -> Result<Plan, Error> {
        let (config, mut plan) = (&self.config, Plan::default());
        self.given.plan(&mut plan);
        for target in &mut self.targets {
            let given = self.given.modules.contains_key(target.low_rank.module_path());
            target.initialize(config, given, params, &mut plan)?;
        }
        Ok(plan)
    }

    fn observe(
        &mut self,
        _: usize,
        _: &Params,
        _: &mut GradientsParams,
    ) -> Result<Option<Tensor<1>>, Error> {
        Ok(None)
    }

    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error> {
        let (optimizer, learning_rate) = (self.config.optimizer, self.learning_rate(step));
        let update = Update { optimizer, learning_rate, t: step + 1 };
        let mut plan = Plan::default();
        for LoraTarget { low_rank, .. } in &mut self.targets {
            let stepped = low_rank.stepped(&update, params, grads)?;
            for (factor, (value, _)) in low_rank.factors.iter().zip(stepped) {
                plan.set(factor.id, value);
            }
        }
        Ok(plan)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        self.config.learning_rate * self.schedule.multiplier(step)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error> {
        let (mut plan, step) = (Plan::default(), step.saturating_sub(1));
        for target in &self.targets {
            let effective = target.effective(params)?;
            target.low_rank.fold(effective, step, params, &mut plan)?;
        }
        Ok(plan)
    }

    fn detach(&self, params: &Params) -> Result<Plan, Error> {
        self.given.require_reversible()?;
        let mut plan = Plan::default();
        for LoraTarget { low_rank, taken, .. } in &self.targets {
            if taken.is_some() {
                let reason = "PiSSA moved its principal part into the adapter";
                return Err(Error::Irreversible { path: low_rank.path.clone(), reason });
            }
            low_rank.clear(params, &mut plan)?;
        }
        Ok(plan)
    }

    fn export(&self, _: usize, params: &Params) -> Result<Option<AdapterFile>, Error> {
        if self.config.use_dora && self.config.init_lora_weights != LoraInit::Kaiming {
            return Ok(None); // magnitudes of a weight without its principal part: PEFT has no such file
        }
        Ok(Some(AdapterFile::Peft(Box::new(self.to_adapter(params)?))))
    }

    fn record(&self, params: &Params) -> Result<Record, Error> {
        let mut record = Record::default();
        self.targets.iter().try_for_each(|t| t.low_rank.record(params, &mut record))?;
        Ok(record)
    }

    fn restore(&mut self, _: usize, record: &Record, params: &Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let mut targets = self.targets.iter_mut();
        targets.try_for_each(|target| target.low_rank.restore(record, params, &mut plan))?;
        Ok(plan)
    }
}
