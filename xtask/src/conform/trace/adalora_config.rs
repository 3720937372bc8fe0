//! The settings of a recorded AdaLoRA run.

use std::collections::BTreeMap;

use peft_core::adapter::adalora::AdaLoraConfig;
use peft_core::store::{AdaLoraFields, AdapterConfig, AdapterFiles, ModuleTensors, PeftType};
use peft_core::{Optimizer, TargetModules};
use serde::Deserialize;

use crate::conform::CaseError;
use crate::conform::tensors::Tensors;

#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the recorded keys are PEFT's")]
pub struct Config {
    init_r: usize,
    target_r: usize,
    tinit: usize,
    tfinal: usize,
    deltaT: usize,
    beta1: f64,
    beta2: f64,
    pub orth_reg_weight: f64,
    total_step: usize,
    lora_alpha: f64,
    optimizer: String,
    lr: f64,
    #[serde(default = "betas")]
    betas: (f64, f64),
    #[serde(default = "eps")]
    eps: f64,
    #[serde(default)]
    weight_decay: f64,
    modules: Vec<String>,
    pub batches: usize,
}

fn betas() -> (f64, f64) {
    (0.9, 0.999)
}

fn eps() -> f64 {
    1e-8
}

impl Config {
    /// How the run trains.
    pub fn adalora(&self) -> Result<AdaLoraConfig, CaseError> {
        let optimizer = match self.optimizer.as_str() {
            "adamw" => Optimizer::AdamW {
                beta1: self.betas.0,
                beta2: self.betas.1,
                eps: self.eps,
                weight_decay: self.weight_decay,
            },
            "sgd" => Optimizer::Sgd,
            other => return Err(format!("optimizer `{other}`").into()),
        };
        Ok(AdaLoraConfig::new(self.total_step)
            .with_tinit(self.tinit)
            .with_tfinal(self.tfinal)
            .with_delta_t(self.deltaT)
            .with_compact(false)
            .with_learning_rate(self.lr)
            .with_warmup_ratio(0.0)
            .with_min_lr_ratio(1.0)
            .with_optimizer(optimizer))
    }

    /// Its starting point as an adapter.
    pub fn adapter(&self, init: &Tensors) -> Result<AdapterFiles, CaseError> {
        let fields = AdaLoraFields {
            init_r: self.init_r,
            target_r: self.target_r,
            tinit: self.tinit,
            tfinal: self.tfinal,
            delta_t: self.deltaT,
            beta1: self.beta1,
            beta2: self.beta2,
            orth_reg_weight: self.orth_reg_weight,
            total_step: self.total_step,
            rank_pattern: None,
        };
        let modules = self.modules.iter().map(|module| {
            let tensor =
                |end: &str| init.get(&format!("init.base_model.model.{module}.{end}")).cloned();
            let [a, b, e] = [tensor("lora_A")?, tensor("lora_B")?, tensor("lora_E")?];
            Ok((module.clone(), ModuleTensors::AdaLora { a, b, e }))
        });
        let names = TargetModules::Names(self.modules.clone());
        Ok(AdapterFiles {
            config: AdapterConfig::new(PeftType::AdaLora(fields), self.lora_alpha, names),
            modules: modules.collect::<Result<_, CaseError>>()?,
            other: BTreeMap::new(),
        })
    }
}
