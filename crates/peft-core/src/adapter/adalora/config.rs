//! Settings of an AdaLoRA run.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::adapter::lora::check_learning_rate;
use crate::error::check;
use crate::schedule::{BudgetSchedule, DenseSchedule};
use crate::{Error, Optimizer, TargetModules, Targeting};

/// How the importance of an entry of P, Λ and Q is measured. Each is summed over a triplet: that of
/// Λ, and the means over its vectors of P and Q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankImportance {
    /// Smoothed sensitivity times its smoothed variation (the paper's, and PEFT's).
    Smoothed,
    /// Sensitivity `|w·∂L/∂w|` of the last step (a comparison of the paper).
    Sensitivity,
    /// Magnitude of the singular value alone (a comparison of the paper).
    Magnitude,
}

/// The regulariser that keeps P and Q orthogonal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orthogonality {
    /// Mean over all P and Q of `‖M·Mᵀ − I‖`, as PEFT and the authors' code compute it.
    MeanNorm,
    /// Sum over all P and Q of `‖M·Mᵀ − I‖²`, as the paper writes it.
    SquaredSum,
}

/// Settings of AdaLoRA, with PEFT's defaults and names.
#[derive(Config, Debug, PartialEq)]
pub struct AdaLoraConfig {
    /// Optimizer steps of the whole run; the budget depends on them.
    pub total_steps: usize,
    /// Modules whose weights get an adapter.
    #[config(default = "TargetModules::all_linear()")]
    pub target_modules: TargetModules,
    /// Modules left out of `target_modules`.
    pub exclude_modules: Option<TargetModules>,
    /// Layers taken, by the last number in a module's path; all, unless given.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Path of the output head's weight, such as `lm_head.weight`, which `all-linear` leaves out.
    pub output_head: Option<String>,
    /// Rank of every weight at the start.
    #[config(default = 12)]
    pub init_r: usize,
    /// Mean rank of the weights at the end.
    #[config(default = 8)]
    pub target_r: usize,
    /// Steps before the budget starts to fall.
    #[config(default = 0)]
    pub tinit: usize,
    /// Steps trained with the final ranks.
    #[config(default = 0)]
    pub tfinal: usize,
    /// Steps between cuts.
    #[config(default = 1)]
    pub delta_t: usize,
    /// Smoothing of sensitivity.
    #[config(default = 0.85)]
    pub beta1: f64,
    /// Smoothing of its variation.
    #[config(default = 0.85)]
    pub beta2: f64,
    /// Weight of the orthogonality regulariser.
    #[config(default = 0.5)]
    pub orth_reg_weight: f64,
    /// Its form.
    #[config(default = "Orthogonality::MeanNorm")]
    pub orthogonality: Orthogonality,
    /// How triplets are ranked.
    #[config(default = "RankImportance::Smoothed")]
    pub importance: RankImportance,
    /// Strength: the product is scaled by `lora_alpha / (init_r + 1e-5)`, whatever ranks survive.
    #[config(default = 8.0)]
    pub lora_alpha: f64,
    /// Probability of dropping an entry of the adapter's input, in [0, 1).
    #[config(default = 0.0)]
    pub lora_dropout: f64,
    /// Drops pruned triplets, their optimizer state included, at the last cut. `false` keeps them
    /// masked to the end, as the references do: the regulariser then still sees them.
    #[config(default = true)]
    pub compact: bool,
    /// Peak learning rate.
    #[config(default = 1e-3)]
    pub learning_rate: f64,
    /// Where the cosine ends, as a share of the peak.
    #[config(default = 0.1)]
    pub min_lr_ratio: f64,
    /// Share of the run spent warming up.
    #[config(default = 0.1)]
    pub warmup_ratio: f64,
    /// How the matrices are stepped.
    #[config(default = "Optimizer::default()")]
    pub optimizer: Optimizer,
    /// Seed of the random matrices.
    #[config(default = 0)]
    pub seed: u64,
}

impl AdaLoraConfig {
    /// Checks every setting that can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        check(self.total_steps > 0, "total_steps", self.total_steps, "at least 1")?;
        check(self.init_r > 0, "init_r", self.init_r, "at least 1")?;
        let target = self.target_r;
        check((1..=self.init_r).contains(&target), "target_r", target, "from 1 to init_r")?;
        self.budget(1).validate()?;
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            check((0.0..1.0).contains(&beta), key, beta, "a decay rate in [0, 1)")?;
        }
        let weight = self.orth_reg_weight;
        let valid = weight.is_finite() && weight >= 0.0;
        check(valid, "orth_reg_weight", weight, "a finite weight, 0 or more")?;
        let alpha = self.lora_alpha;
        check(alpha.is_finite() && alpha > 0.0, "lora_alpha", alpha, "a positive number")?;
        let dropout = self.lora_dropout;
        check((0.0..1.0).contains(&dropout), "lora_dropout", dropout, "a share in [0, 1)")?;
        check_learning_rate(self.learning_rate, self.min_lr_ratio, self.warmup_ratio)?;
        self.optimizer.validate()
    }

    pub(super) fn targeting(&self) -> Targeting<'_> {
        Targeting {
            target_modules: &self.target_modules,
            exclude_modules: self.exclude_modules.as_ref(),
            layers_to_transform: self.layers_to_transform.as_deref(),
        }
    }

    pub(super) fn schedule(&self) -> DenseSchedule {
        DenseSchedule::new(self.total_steps, self.warmup_ratio, self.min_lr_ratio)
    }

    /// The budget of a model with `weights` adapted weights.
    pub(super) fn budget(&self, weights: usize) -> BudgetSchedule {
        BudgetSchedule {
            initial: self.init_r * weights,
            target: self.target_r * weights,
            tinit: self.tinit,
            tfinal: self.tfinal,
            delta_t: self.delta_t,
            total_step: self.total_steps,
        }
    }

    pub(super) fn scaling(&self) -> f64 {
        self.lora_alpha / (self.init_r as f64 + 1e-5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_out_of_range_is_named() {
        type Change = fn(AdaLoraConfig) -> AdaLoraConfig;
        let cases: [(&str, Change); 13] = [
            ("`total_steps` is 0", |c| AdaLoraConfig { total_steps: 0, ..c }),
            ("`init_r` is 0", |c| c.with_init_r(0)),
            ("`target_r` is 13", |c| c.with_target_r(13)),
            ("`target_r` is 0", |c| c.with_target_r(0)),
            ("`tinit` is 6, total_step 10 − tfinal 4 is 6", |c| c.with_tinit(6).with_tfinal(4)),
            ("`delta_t` is 0", |c| c.with_delta_t(0)),
            ("`beta1` is 1", |c| c.with_beta1(1.0)),
            ("`beta2` is -1", |c| c.with_beta2(-1.0)),
            ("`orth_reg_weight` is -1", |c| c.with_orth_reg_weight(-1.0)),
            ("`lora_alpha` is 0", |c| c.with_lora_alpha(0.0)),
            ("`lora_dropout` is 1.5", |c| c.with_lora_dropout(1.5)),
            ("`learning_rate` is NaN", |c| c.with_learning_rate(f64::NAN)),
            ("`warmup_ratio` is 2", |c| c.with_warmup_ratio(2.0)),
        ];
        AdaLoraConfig::new(10).validate().unwrap();
        for (message, change) in cases {
            let error = change(AdaLoraConfig::new(10)).validate().unwrap_err().to_string();
            assert!(error.starts_with(message), "{message}: {error}");
        }
    }
}
