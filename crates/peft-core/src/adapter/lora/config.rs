//! Settings of a LoRA run.

use burn::config::Config;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::error::check;
use crate::schedule::DenseSchedule;
use crate::store::Patterns;
use crate::{Error, Optimizer, TargetModules, Targeting};

/// What the two matrices start as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraInit {
    /// `A` uniform in ±1/√d_input (PEFT's Kaiming initialisation), `B` zero.
    Kaiming,
    /// The principal singular triplets of the weight, which is left with the rest (PiSSA).
    Pissa,
    /// PiSSA with a randomised decomposition of this many power iterations: much faster for large
    /// weights (PEFT's `pissa_niter_16`).
    PissaNiter(usize),
}

/// Settings of LoRA, with PEFT's defaults and names.
#[derive(Config, Debug, PartialEq)]
pub struct LoraConfig {
    /// Optimizer steps of the whole run, for the learning rate.
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
    /// Rank of the product.
    #[config(default = 8)]
    pub r: usize,
    /// Strength: the product is scaled by `lora_alpha / r`.
    #[config(default = 8.0)]
    pub lora_alpha: f64,
    /// Scales by `lora_alpha / √r` instead (rsLoRA).
    #[config(default = false)]
    pub use_rslora: bool,
    /// Trains the weights' magnitudes apart from their directions (DoRA).
    #[config(default = false)]
    pub use_dora: bool,
    /// Probability of dropping an entry of the adapter's input, in [0, 1).
    #[config(default = 0.0)]
    pub lora_dropout: f64,
    /// Rank by module: the first pattern that matches a path, or the end of one, wins.
    #[config(default = "IndexMap::new()")]
    pub rank_pattern: IndexMap<String, usize>,
    /// `lora_alpha` by module, in the same way.
    #[config(default = "IndexMap::new()")]
    pub alpha_pattern: IndexMap<String, f64>,
    /// What the matrices start as.
    #[config(default = "LoraInit::Kaiming")]
    pub init_lora_weights: LoraInit,
    /// Learning rate of `B` as a multiple of that of `A` (LoRA+).
    #[config(default = 1.0)]
    pub loraplus_lr_ratio: f64,
    /// Peak learning rate.
    #[config(default = 2e-4)]
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

impl LoraConfig {
    /// Checks every setting that can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        check(self.total_steps > 0, "total_steps", self.total_steps, "at least 1")?;
        check(self.r > 0, "r", self.r, "at least 1")?;
        check(
            self.rank_pattern.values().all(|&r| r > 0),
            "rank_pattern",
            0,
            "ranks of at least 1",
        )?;
        for alpha in self.alpha_pattern.values().chain([&self.lora_alpha]) {
            check(alpha.is_finite() && *alpha > 0.0, "lora_alpha", alpha, "a positive number")?;
        }
        let dropout = self.lora_dropout;
        check((0.0..1.0).contains(&dropout), "lora_dropout", dropout, "a share in [0, 1)")?;
        let ratio = self.loraplus_lr_ratio;
        check(ratio.is_finite() && ratio > 0.0, "loraplus_lr_ratio", ratio, "a positive number")?;
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

    /// Ranks and scalings of modules, by path.
    pub(super) fn ranks(&self) -> Result<Ranks<'_>, Error> {
        Ok(Ranks {
            config: self,
            ranks: Patterns::compile("rank_pattern", &self.rank_pattern)?,
            alphas: Patterns::compile("alpha_pattern", &self.alpha_pattern)?,
        })
    }
}

/// The patterns of a configuration, compiled to be asked for many modules.
pub(super) struct Ranks<'a> {
    config: &'a LoraConfig,
    ranks: Patterns<'a, usize>,
    alphas: Patterns<'a, f64>,
}

impl Ranks<'_> {
    /// Rank and scaling of the adapter of a module.
    pub fn of(&self, module_path: &str) -> (usize, f64) {
        let r = self.ranks.value(module_path).copied().unwrap_or(self.config.r);
        let alpha = self.alphas.value(module_path).copied().unwrap_or(self.config.lora_alpha);
        match self.config.use_rslora {
            true => (r, alpha / (r as f64).sqrt()),
            false => (r, alpha / r as f64),
        }
    }
}

/// Checks of the settings that all low-rank methods share.
pub fn check_learning_rate(
    learning_rate: f64,
    min_lr_ratio: f64,
    warmup_ratio: f64,
) -> Result<(), Error> {
    let valid = learning_rate.is_finite() && learning_rate >= 0.0;
    check(valid, "learning_rate", learning_rate, "a finite rate, 0 or more")?;
    for (key, ratio) in [("min_lr_ratio", min_lr_ratio), ("warmup_ratio", warmup_ratio)] {
        check((0.0..=1.0).contains(&ratio), key, ratio, "a share in [0, 1]")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_out_of_range_is_named() {
        type Change = fn(LoraConfig) -> LoraConfig;
        let cases: [(&str, Change); 10] = [
            ("`total_steps` is 0", |c| LoraConfig { total_steps: 0, ..c }),
            ("`r` is 0", |c| c.with_r(0)),
            ("`rank_pattern` is 0", |c| c.with_rank_pattern([("q".into(), 0)].into())),
            ("`lora_alpha` is 0", |c| c.with_lora_alpha(0.0)),
            ("`lora_alpha` is NaN", |c| c.with_alpha_pattern([("q".into(), f64::NAN)].into())),
            ("`lora_dropout` is 1", |c| c.with_lora_dropout(1.0)),
            ("`loraplus_lr_ratio` is -1", |c| c.with_loraplus_lr_ratio(-1.0)),
            ("`learning_rate` is inf", |c| c.with_learning_rate(f64::INFINITY)),
            ("`min_lr_ratio` is 2", |c| c.with_min_lr_ratio(2.0)),
            ("`warmup_ratio` is -0.1", |c| c.with_warmup_ratio(-0.1)),
        ];
        LoraConfig::new(10).validate().unwrap();
        for (message, change) in cases {
            let error = change(LoraConfig::new(10)).validate().unwrap_err().to_string();
            assert!(error.starts_with(message), "{message}: {error}");
        }
    }

    #[test]
    fn rank_and_alpha_follow_the_first_pattern_that_matches() {
        let config = LoraConfig::new(1)
            .with_r(4)
            .with_lora_alpha(8.0)
            .with_rank_pattern([("q_proj".into(), 16), ("layers.0.q_proj".into(), 2)].into())
            .with_alpha_pattern([(r"layers\.\d\.v_proj".into(), 2.0)].into());
        for (path, want) in [
            ("layers.0.q_proj", (16, 0.5)),
            ("layers.0.freq_proj", (4, 2.0)),
            ("layers.1.v_proj", (4, 0.5)),
        ] {
            assert_eq!(config.ranks().unwrap().of(path), want, "{path}");
        }
        let config = config.with_use_rslora(true);
        let (_, scaling) = config.ranks().unwrap().of("layers.0.q");
        assert_eq!(scaling, 4.0);
    }
}
