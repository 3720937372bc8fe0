//! The methods under test.

use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig, Orthogonality, RankImportance};
use peft_core::adapter::full::Full;
use peft_core::adapter::lora::{Lora, LoraConfig, LoraInit};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::schedule::DenseSchedule;
use peft_core::{Method, TargetModules};

use crate::{STEPS, boxed};

/// A method and what is expected of it.
pub struct Candidate {
    pub name: &'static str,
    pub method: fn() -> Box<dyn Method>,
    /// Whether it trains through adapters, and not the weights themselves.
    pub adapts: bool,
    /// Whether the original weights are kept.
    pub reversible: bool,
}

const DEFAULT: Candidate =
    Candidate { name: "", method: || unreachable!(), adapts: true, reversible: true };

pub fn all() -> Vec<Candidate> {
    vec![
        Candidate { name: "losia-pro", method: || losia(losia_config()), ..DEFAULT },
        Candidate { name: "losia", method: || losia(losia_config().with_pro(false)), ..DEFAULT },
        Candidate { name: "lora", method: || lora(lora_config()), ..DEFAULT },
        Candidate { name: "rslora+", method: || lora(rslora_plus()), ..DEFAULT },
        Candidate { name: "dora", method: || lora(lora_config().with_use_dora(true)), ..DEFAULT },
        Candidate { name: "pissa", method: || lora(pissa()), reversible: false, ..DEFAULT },
        Candidate { name: "adalora", method: || adalora(adalora_config()), ..DEFAULT },
        Candidate { name: "adalora masked", method: || adalora(masked()), ..DEFAULT },
        Candidate { name: "adalora squared", method: || adalora(squared()), ..DEFAULT },
        Candidate { name: "full", method: full, adapts: false, reversible: false },
    ]
}

/// Those that train through adapters.
pub fn adapting() -> impl Iterator<Item = Candidate> {
    all().into_iter().filter(|candidate| candidate.adapts)
}

fn targets() -> TargetModules {
    TargetModules::Pattern(r"blocks\.\d".into())
}

fn losia_config() -> LosiaConfig {
    LosiaConfig::new(STEPS)
        .with_target_modules(targets())
        .with_rank_factor(0.25)
        .with_period(3)
        .with_learning_rate(3e-2)
        .with_journal(true)
}

fn losia(config: LosiaConfig) -> Box<dyn Method> {
    boxed(Losia::new(config).expect("valid"))
}

pub fn lora_config() -> LoraConfig {
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

fn lora(config: LoraConfig) -> Box<dyn Method> {
    boxed(Lora::new(config).expect("valid"))
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

pub fn masked() -> AdaLoraConfig {
    adalora_config().with_compact(false).with_importance(RankImportance::Magnitude)
}

fn squared() -> AdaLoraConfig {
    adalora_config()
        .with_orthogonality(Orthogonality::SquaredSum)
        .with_importance(RankImportance::Sensitivity)
}

pub fn adalora(config: AdaLoraConfig) -> Box<dyn Method> {
    boxed(AdaLora::new(config).expect("valid"))
}

fn full() -> Box<dyn Method> {
    boxed(Full {
        learning_rate: 1e-2,
        schedule: DenseSchedule::new(STEPS, 0.1, 0.1),
        target_modules: Some(targets()),
    })
}
