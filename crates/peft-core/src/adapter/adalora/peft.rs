//! AdaLoRA adapters in PEFT's format, as ADALORA and as plain LORA.

use burn::tensor::{Tensor, TensorData};

use super::target::{A, AdaLoraTarget, B, E};
use super::{AdaLora, AdaLoraConfig};
use crate::adapter::low_rank::{Given, transposed};
use crate::store::{
    AdaLoraFields, AdapterConfig, AdapterFiles, LoraFields, ModuleTensors, PeftType,
};
use crate::{Error, ParamInfo, Params, TargetModules, to_host};

/// Values of A, E and B, and which of the first triplets they are.
type Factors = ([TensorData; 3], Vec<bool>);

impl AdaLora {
    /// Goes on from an adapter in PEFT's format. What it computes and where it belongs are the
    /// file's; how it is trained, if it is, is `config`'s. Ranks that were allocated stay.
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

    pub(super) fn to_adapter(&self, params: &Params) -> Result<AdapterFiles, Error> {
        let config = &self.config;
        let pattern = |t: &AdaLoraTarget| (t.low_rank.module_path().to_string(), t.kept.clone());
        let cut = self.targets.iter().any(|target| target.kept.contains(&false));
        let rank_pattern =
            (self.allocated || cut).then(|| self.targets.iter().map(pattern).collect());
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

    /// The adapter as plain LORA with a rank for each module, singular values absorbed: what
    /// serving engines read. Weights without rank are left out.
    ///
    /// # Errors
    /// [`Error::NotAllocated`] before the last cut.
    pub fn to_lora(&self, step: usize, params: &Params) -> Result<AdapterFiles, Error> {
        self.require_allocated(step)?;
        let mut fields = LoraFields::new(self.config.init_r);
        let mut modules = std::collections::BTreeMap::new();
        for target in self.targets.iter().filter(|target| target.rank() > 0) {
            let (path, rank) = (target.low_rank.module_path().to_string(), target.rank());
            let [a, e, b] = target.surviving(params)?;
            // LoRA will scale by alpha / rank.
            let absorbed = self.config.scaling() * rank as f64 / self.config.lora_alpha;
            let b = b.mul(e.transpose().mul_scalar(absorbed));
            let [a, b] = [a, b].map(|factor| to_host(factor.transpose()));
            fields.rank_pattern.insert(regex::escape(&path), rank);
            modules.insert(path, ModuleTensors::Lora { a, b, magnitude: None });
        }
        let mut config = self.adapter_config(PeftType::Lora(fields));
        config.target_modules = TargetModules::Names(modules.keys().cloned().collect());
        config.modules_to_save = self.given.config(config.clone()).modules_to_save;
        Ok(AdapterFiles { config, modules, other: self.given.whole() })
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
