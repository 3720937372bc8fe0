//! AdaLoRA adapters in PEFT's format, as ADALORA and as plain LORA.

use burn::tensor::{Tensor, TensorData};

use super::target::{A, AdaLoraTarget, B, E};
use super::{AdaLora, AdaLoraConfig};
use crate::adapter::low_rank::{Given, transposed};
use crate::store::{AdaLoraFields, AdapterConfig, AdapterFiles, ModuleTensors, PeftType};
use crate::{Error, ParamInfo, Params, TargetModules, to_host};

/// Values of A, E and B, and which of the first triplets they are.
type Factors = ([TensorData; 3], Vec<bool>);

impl AdaLora {
    /// Goes on from an adapter in PEFT's format. What it computes and where it belongs are the
    /// file's, and so are `target_r`, `orth_reg_weight`, `beta1` and `beta2`; the schedule and all
    /// else about training, if it is trained, is `config`'s. Ranks that were allocated stay. An
    /// adapter that has none yet can be used as it is, but not merged or written.
    ///
    /// # Errors
    /// [`Error::Setting`] for an adapter of another method, and what [`new`](Self::new) refuses.
    pub fn from_adapter(adapter: &AdapterFiles, config: AdaLoraConfig) -> Result<Self, Error> {
        let PeftType::AdaLora(fields) = &adapter.config.peft_type else {
            return Err(Error::Setting {
                key: "peft_type",
                found: "LORA".into(),
                expected: "ADALORA",
            });
        };
        let given = Given::new(adapter)?;
        let config = AdaLoraConfig {
            target_modules: given.target_modules(),
            exclude_modules: None,
            layers_to_transform: None,
            init_r: fields.init_r,
            target_r: fields.target_r.min(fields.init_r),
            lora_alpha: adapter.config.lora_alpha,
            lora_dropout: adapter.config.lora_dropout,
            orth_reg_weight: fields.orth_reg_weight,
            beta1: fields.beta1,
            beta2: fields.beta2,
            ..config
        };
        let allocated = fields.rank_pattern.is_some();
        Ok(Self { given, allocated, ..Self::new(config)? })
    }

    /// Values of A, E and B that a file gives, if it does, in Burn's orientation, and which of the
    /// first triplets they are.
    pub(super) fn given(&self, param: &ParamInfo) -> Option<Factors> {
        let tensors = self.given.modules.get(param.module_path())?;
        let ModuleTensors::AdaLora { a, b, e } = tensors else { return None };
        let rank = e.shape()[0];
        let kept = match self.given.rank_pattern.get(param.module_path()) {
            Some(kept) => kept.clone(),
            None => (0..self.config.init_r).map(|index| index < rank).collect(),
        };
        Some(([a, e, b].map(|factor| transposed(factor, &param.device)), kept))
    }

    /// The adapter after `steps` steps. Between cuts, pruned triplets are at work again: what the
    /// masks of the latest one leave is not what the model computes.
    ///
    /// # Errors
    /// Those of [`require_allocated`](Self::require_allocated).
    pub(super) fn to_adapter(&self, steps: usize, params: &Params) -> Result<AdapterFiles, Error> {
        self.require_allocated(steps)?;
        let config = &self.config;
        let pattern = |t: &AdaLoraTarget| (t.low_rank.module_path().to_string(), t.kept.clone());
        let rank_pattern = Some(self.targets.iter().map(pattern).collect());
        let fields = match self.given.allocated() {
            Some(fields) => AdaLoraFields { rank_pattern, ..fields.clone() },
            None => AdaLoraFields {
                init_r: config.init_r,
                target_r: config.target_r,
                tinit: config.tinit,
                tfinal: config.tfinal,
                delta_t: config.delta_t,
                beta1: config.beta1,
                beta2: config.beta2,
                orth_reg_weight: config.orth_reg_weight,
                total_step: config.total_steps,
                rank_pattern,
            },
        };
        let modules = self.targets.iter().map(|target| {
            let [a, e, b] = target.surviving(params)?.map(|factor| to_host(factor.transpose()));
            Ok((target.low_rank.module_path().to_string(), ModuleTensors::AdaLora { a, b, e }))
        });
        Ok(AdapterFiles {
            config: self.given.config(self.adapter_config(PeftType::AdaLora(fields))),
            modules: modules.collect::<Result<_, Error>>()?,
            other: self.given.whole(),
        })
    }

    /// The adapter after `steps` steps as plain LORA: [`AdapterFiles::to_lora`] of what
    /// [`Tuner::export`](crate::Tuner::export) gives, without what was trained densely beside it.
    ///
    /// # Errors
    /// [`Error::NotAllocated`] and [`Error::UndecidedRanks`] before the last cut, and those of
    /// [`AdapterFiles::to_lora`].
    pub fn to_lora(&self, steps: usize, params: &Params) -> Result<AdapterFiles, Error> {
        self.to_adapter(steps, params)?.to_lora()
    }

    fn adapter_config(&self, peft_type: PeftType) -> AdapterConfig {
        let names = self.targets.iter().map(|t| t.low_rank.module_path().to_string()).collect();
        AdapterConfig {
            lora_dropout: self.config.lora_dropout,
            ..AdapterConfig::new(peft_type, self.config.lora_alpha, TargetModules::Names(names))
        }
    }
}

impl AdaLoraTarget {
    /// A, E and B of the triplets that survive.
    fn surviving(&self, params: &Params) -> Result<[Tensor<2>; 3], Error> {
        let keep = match self.low_rank.rank() == self.kept.len() {
            true => self.kept_indices(),
            false => (0..self.low_rank.rank()).collect(), // dropped already
        };
        let factor = |index: usize| {
            let value = self.low_rank.value(index, params)?;
            Ok(self.low_rank.factors[index].kept(value, &keep))
        };
        Ok([factor(A)?, factor(E)?, factor(B)?])
    }
}
