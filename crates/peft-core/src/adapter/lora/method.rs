//! LoRA as a method: attachment, updates, merging.

use burn::optim::GradientsParams;
use burn::tensor::TensorData;

use super::init::kaiming;
use super::target::LoraTarget;
use super::{LoraConfig, LoraDelta, LoraInit};
use crate::adapter::Adapter;
use crate::adapter::low_rank::{Factor, Given, LowRankTarget, trained};
use crate::method::{Attachments, Method};
use crate::store::AdapterFile;
use crate::{Catalogue, Error, ParamInfo, Params, Plan, Record};

/// LoRA, DoRA or PiSSA, as the configuration says.
#[derive(Debug)]
pub struct Lora {
    pub(super) config: LoraConfig,
    pub(super) targets: Vec<LoraTarget>,
    /// What a file gave to start from.
    pub(super) given: Given,
}

impl Lora {
    /// The method, not yet attached to a model.
    ///
    /// # Errors
    /// [`Error::Setting`] if the configuration is invalid.
    pub fn new(config: LoraConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { config, targets: Vec::new(), given: Given::default() })
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
                config.check_rank(rank, param)?;
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
        let of_magnitude =
            |m| Factor::new("magnitude", m, None).with_lr_ratio(config.loraplus_lr_ratio);
        factors.extend(magnitude.as_ref().map(of_magnitude));
        let low_rank = LowRankTarget::new(param, factors);
        let delta = LoraDelta::new(lora_a, lora_b, magnitude, scaling, config.lora_dropout);
        Ok((LoraTarget { low_rank, rank, scaling, taken: None }, delta))
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
        let selected = self.config.shared().select(catalogue)?;
        let ranks = self.config.ranks()?;
        if !self.given.is_from_file() {
            let modules: Vec<_> = selected.iter().map(|param| param.module_path()).collect();
            ranks.refuse_idle(&modules)?;
        }
        let (mut attachments, mut targets) = (Attachments::default(), Vec::new());
        for param in selected {
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
        let given =
            |target: &LoraTarget| self.given.modules.contains_key(target.low_rank.module_path());
        for target in self.targets.iter_mut().filter(|target| !given(target)) {
            target.initialize(config, params, &mut plan)?;
        }
        Ok(plan)
    }

    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error> {
        let (update, mut plan) = (self.config.shared().update(step), Plan::default());
        for LoraTarget { low_rank, .. } in &mut self.targets {
            let stepped = low_rank.stepped(&update, params, grads)?;
            for (factor, (value, _)) in low_rank.factors.iter().zip(stepped) {
                plan.set(factor.id, value);
            }
        }
        Ok(plan)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        self.config.shared().learning_rate(step)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error> {
        let (mut plan, step) = (Plan::default(), step.saturating_sub(1));
        self.given.require_finite(step, params)?;
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
        self.targets.iter().try_for_each(|target| target.record(params, &mut record))?;
        Ok(record)
    }

    fn restore(&mut self, _: usize, record: &Record, params: &Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.given.plan(&mut plan);
        for target in &mut self.targets {
            target.restore(&self.config, record, params, &mut plan)?;
        }
        Ok(plan)
    }
}
