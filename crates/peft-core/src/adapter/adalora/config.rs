//! Settings of an AdaLoRA run.

use serde::{Deserialize, Serialize};

use crate::adapter::low_rank::with_shared_settings;
use crate::error::check;
use crate::schedule::{BudgetSchedule, Decay};
use crate::settings::settings;
use crate::{Error, Optimizer, TargetModules};

/// How the importance of an entry of P, Λ and Q is measured. Each is summed over a triplet: that of
/// Λ, and the means over its vectors of P and Q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Orthogonality {
    /// Mean over all P and Q of `‖M·Mᵀ − I‖`, as PEFT and the authors' code compute it. Those left
    /// without rank count as zero.
    MeanNorm,
    /// Sum over all P and Q of `‖M·Mᵀ − I‖²`, as the paper writes it.
    SquaredSum,
}

settings! {
    /// Settings of AdaLoRA, with PEFT's defaults and names.
    pub struct AdaLoraConfig {
        /// Optimizer steps of the whole run; the budget depends on them.
        total_steps: usize,
        /// Modules whose weights get an adapter.
        target_modules: TargetModules = TargetModules::all_linear(),
        /// Modules left out of `target_modules`.
        exclude_modules: Option<TargetModules> = None,
        /// Layers taken, all unless given: see
        /// [`Targeting::layers_to_transform`](crate::Targeting::layers_to_transform).
        layers_to_transform: Option<Vec<usize>> = None,
        /// Path of the output head's weight, such as `lm_head.weight`, which `all-linear` leaves out.
        output_head: Option<String> = None,
        /// Rank of every weight at the start.
        init_r: usize = 12,
        /// Mean rank of the weights at the end.
        target_r: usize = 8,
        /// Steps before the budget starts to fall.
        tinit: usize = 0,
        /// Steps trained with the final ranks, which make up for what the last cut took. With 0,
        /// the last cut ends the run. (PEFT makes none there and can end above `target_r`.)
        tfinal: usize = 0,
        /// Steps between cuts.
        delta_t: usize = 1,
        /// Smoothing of sensitivity.
        beta1: f64 = 0.85,
        /// Smoothing of its variation.
        beta2: f64 = 0.85,
        /// Weight of the orthogonality regulariser.
        orth_reg_weight: f64 = 0.5,
        /// Its form.
        orthogonality: Orthogonality = Orthogonality::MeanNorm,
        /// How triplets are ranked.
        importance: RankImportance = RankImportance::Smoothed,
        /// Strength: the product is scaled by `lora_alpha / (init_r + 1e-5)`, whatever ranks survive.
        lora_alpha: f64 = 8.0,
        /// Probability of dropping an entry of the adapter's input, in [0, 1). Only models that call
        /// the [`hook`](crate::hook) have dropout: a composed weight has no input.
        lora_dropout: f64 = 0.0,
        /// Drops pruned triplets, their optimizer state included, at the last cut. `false` keeps them
        /// masked to the end, as the references do: the regulariser then still sees them.
        compact: bool = true,
        /// Peak learning rate.
        learning_rate: f64 = 1e-3,
        /// How it falls after the warm-up.
        lr_scheduler: Decay = Decay::Cosine,
        /// Where the decay ends, as a share of the peak.
        min_lr_ratio: f64 = 0.1,
        /// Share of the run spent warming up.
        warmup_ratio: f64 = 0.1,
        /// How the matrices are stepped.
        optimizer: Optimizer = Optimizer::default(),
        /// Seed of the random matrices.
        seed: u64 = 0,
    }
}

with_shared_settings!(AdaLoraConfig);

impl AdaLoraConfig {
    /// Checks every setting that can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.shared().validate()?;
        check(self.init_r > 0, "init_r", self.init_r, "at least 1")?;
        let target = self.target_r;
        check((1..=self.init_r).contains(&target), "target_r", target, "from 1 to init_r")?;
        self.budget(1).validate()?;
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            check((0.0..1.0).contains(&beta), key, beta, "a decay rate in [0, 1)")?;
        }
        let weight = self.orth_reg_weight;
        let valid = weight.is_finite() && weight >= 0.0;
        check(valid, "orth_reg_weight", weight, "a finite weight, 0 or more")
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

    /// The step, counted from 0, at whose end the final ranks are decided.
    pub fn last_cut(&self) -> usize {
        self.budget(1).last_cut()
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
