//! The methods under test.

use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig, Orthogonality, RankImportance};
use peft_core::adapter::full::Full;
use peft_core::adapter::lora::{Lora, LoraConfig, LoraInit};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::schedule::DenseSchedule;
use peft_core::{Method, TargetModules};

use crate::STEPS;

/// A method and what is expected of it.
pub struct Candidate {
    pub name: &'static str,
    pub config: Config,
    /// Whether it trains through adapters, and not the weights themselves.
    pub adapts: bool,
    /// Whether the original weights are kept.
    pub reversible: bool,
    /// Whether it starts from random numbers.
    pub random: bool,
}

/// Settings of a method.
#[derive(Clone)]
pub enum Config {
    Losia(LosiaConfig),
    Lora(LoraConfig),
    AdaLora(AdaLoraConfig),
    Full(Full),
}

pub fn all() -> Vec<Candidate> {
    use Config::{AdaLora, Full, Lora, Losia};
    vec![
        candidate("losia-pro", Losia(losia_config())),
        candidate("losia", Losia(losia_config().with_pro(false))),
        candidate("lora", Lora(lora_config())),
        candidate("rslora+", Lora(rslora_plus())),
        candidate("dora", Lora(lora_config().with_use_dora(true))),
        Candidate { reversible: false, random: false, ..candidate("pissa", Lora(pissa())) },
        candidate("adalora", AdaLora(adalora_config())),
        candidate("adalora masked", AdaLora(masked())),
        candidate("adalora squared", AdaLora(squared())),
        Candidate { adapts: false, ..candidate("full", Full(full())) },
    ]
}

/// Those that train through adapters.
pub fn adapting() -> impl Iterator<Item = Candidate> {
    all().into_iter().filter(|candidate| candidate.adapts)
}

/// The adapting one of that name.
pub fn named(name: &str) -> Candidate {
    adapting().find(|candidate| candidate.name == name).expect("listed")
}

fn candidate(name: &'static str, config: Config) -> Candidate {
    let full = matches!(config, Config::Full(_));
    Candidate { name, config, adapts: true, reversible: !full, random: !full }
}

impl Candidate {
    /// The method, with its random numbers drawn from `seed`.
    pub fn method(&self, seed: u64) -> Box<dyn Method> {
        match self.config.clone() {
            Config::Losia(config) => Box::new(Losia::new(config.with_seed(seed)).expect("valid")),
            Config::Lora(config) => Box::new(Lora::new(config.with_seed(seed)).expect("valid")),
            Config::AdaLora(config) => {
                Box::new(AdaLora::new(config.with_seed(seed)).expect("valid"))
            }
            Config::Full(full) => Box::new(full),
        }
    }

    pub fn is_losia(&self) -> bool {
        matches!(self.config, Config::Losia(_))
    }
}

/// Whether the parameter at `path` is one of the weights that all candidates adapt or train.
pub fn is_target(path: &str) -> bool {
    path.starts_with("blocks") && path.ends_with("weight")
}

fn targets() -> TargetModules {
    TargetModules::Pattern(r"blocks\.\d".into())
}

/// Steps in a slot of LoSiA.
pub const PERIOD: usize = 3;

fn losia_config() -> LosiaConfig {
    LosiaConfig::new(STEPS)
        .with_target_modules(targets())
        .with_rank_factor(0.25)
        .with_period(PERIOD)
        .with_learning_rate(3e-2)
        .with_journal(true)
}

fn lora_config() -> LoraConfig {
    LoraConfig::new(STEPS)
        .with_target_modules(targets())
        .with_r(3)
        .with_lora_alpha(6.0)
        .with_learning_rate(2e-2)
}

fn rslora_plus() -> LoraConfig {
    lora_config().with_use_rslora(true).with_loraplus_lr_ratio(4.0)
}

fn pissa() -> LoraConfig {
    lora_config().with_init_lora_weights(LoraInit::Pissa)
}

pub fn adalora_config() -> AdaLoraConfig {
    AdaLoraConfig::new(STEPS)
        .with_target_modules(targets())
        .with_init_r(4)
        .with_target_r(2)
        .with_tinit(2)
        .with_tfinal(5)
        .with_delta_t(3)
        .with_lora_alpha(32.0)
        .with_orth_reg_weight(0.05)
        .with_learning_rate(1e-1)
}

fn masked() -> AdaLoraConfig {
    adalora_config().with_compact(false).with_importance(RankImportance::Magnitude)
}

fn squared() -> AdaLoraConfig {
    adalora_config()
        .with_orthogonality(Orthogonality::SquaredSum)
        .with_importance(RankImportance::Sensitivity)
}

fn full() -> Full {
    Full {
        learning_rate: 1e-2,
        schedule: DenseSchedule::new(STEPS, 0.1, 0.1),
        target_modules: Some(targets()),
    }
}
