//! The settings of a recorded LoSiA run.

use std::collections::BTreeMap;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};
use peft_core::adapter::losia::LosiaConfig;
use peft_core::schedule::{DenseSchedule, LrScheduler, UpdateType};
use peft_core::{Sensitivity, TargetModules, TunerConfig};
use serde::Deserialize;

use crate::conform::CaseError;

#[derive(Deserialize)]
pub struct Config {
    scheduler: LrScheduler,
    num_training_steps: usize,
    lr: f64,
    rank_factor: f64,
    period: usize,
    min_lr_ratio: f64,
    warmup_ratio: f64,
    weight_decay: f64,
    output_dim_factor: f64,
    pub taylor_type: Sensitivity,
    update_type: String,
    pub imp_beta1: f64,
    pub imp_beta2: f64,
    scale: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    dense_eps: f32,
    pub total_id: usize,
    pub batches: usize,
}

/// Weights by layer id, those trained in full under `dense`.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Groups(BTreeMap<String, Vec<String>>);

impl Groups {
    /// Weights with a subnet.
    pub fn subnets(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter(|(group, _)| *group != "dense").flat_map(|(_, names)| names)
    }

    fn dense(&self) -> Vec<String> {
        self.0.get("dense").cloned().unwrap_or_default()
    }
}

impl Config {
    /// Settings of the subnets, of a model whose output head is the weight `head`.
    pub fn losia(&self, pro: bool, head: &str, groups: &Groups) -> Result<LosiaConfig, CaseError> {
        let update_type = match self.update_type.as_str() {
            "asy_period" => UpdateType::Asynchronous,
            "syn_period" => UpdateType::Synchronous,
            other => return Err(format!("update_type {other}").into()),
        };
        let modules = groups.subnets().filter(|name| *name != head);
        let modules = modules.map(|name| name.trim_end_matches(".weight").to_string());
        Ok(LosiaConfig::new(self.num_training_steps)
            .with_target_modules(TargetModules::Names(modules.collect()))
            .with_rank_factor(self.rank_factor)
            .with_period(self.period)
            .with_output_dim_factor(self.output_dim_factor)
            .with_output_head(Some(head.into()))
            .with_learning_rate(self.lr)
            .with_lr_scheduler(self.scheduler)
            .with_min_lr_ratio(self.min_lr_ratio)
            .with_warmup_ratio(self.warmup_ratio)
            .with_weight_decay(self.weight_decay)
            .with_scale(self.scale)
            .with_update_type(update_type)
            .with_sensitivity(self.taylor_type)
            .with_imp_beta1(self.imp_beta1)
            .with_imp_beta2(self.imp_beta2)
            .with_beta1(self.beta1)
            .with_beta2(self.beta2)
            .with_eps(self.eps)
            .with_pro(pro))
    }

    /// Settings of what is trained densely.
    pub fn tuner(&self, groups: &Groups) -> TunerConfig {
        let schedule =
            DenseSchedule::new(self.num_training_steps, self.warmup_ratio, self.min_lr_ratio);
        TunerConfig {
            modules_to_save: groups.dense(),
            dense_learning_rate: Some((self.lr, schedule)),
            max_grad_norm: None,
        }
    }

    /// Its optimizer.
    pub fn optim(&self) -> ModuleOptimizer {
        let decay =
            (self.weight_decay > 0.0).then(|| WeightDecayConfig::new(self.weight_decay as f32));
        AdamConfig::new().with_epsilon(self.dense_eps).with_weight_decay(decay).init()
    }
}
