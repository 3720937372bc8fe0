//! Settings of a LoRA run.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::adapter::low_rank::with_shared_settings;
use crate::error::{check, no_match};
use crate::schedule::Decay;
use crate::settings::settings;
use crate::store::Patterns;
use crate::{Error, Optimizer, ParamInfo, TargetModules};

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

settings! {
    /// Settings of LoRA, with PEFT's defaults and names.
    pub struct LoraConfig {
        /// Optimizer steps of the whole run, for the learning rate.
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
        /// Rank of the product.
        r: usize = 8,
        /// Strength: the product is scaled by `lora_alpha / r`.
        lora_alpha: f64 = 8.0,
        /// Scales by `lora_alpha / √r` instead (rsLoRA).
        use_rslora: bool = false,
        /// Trains the weights' magnitudes apart from their directions (DoRA).
        use_dora: bool = false,
        /// Probability of dropping an entry of the adapter's input, in [0, 1). Only models that call
        /// the [`hook`](crate::hook) have dropout: a composed weight has no input.
        lora_dropout: f64 = 0.0,
        /// Rank by module: the first pattern that matches a path, or the end of one, wins.
        rank_pattern: IndexMap<String, usize> = IndexMap::new(),
        /// `lora_alpha` by module, in the same way.
        alpha_pattern: IndexMap<String, f64> = IndexMap::new(),
        /// What the matrices start as.
        init_lora_weights: LoraInit = LoraInit::Kaiming,
        /// Learning rate of `B`, and as in PEFT of DoRA's magnitudes, as a multiple of that of `A`
        /// (LoRA+).
        loraplus_lr_ratio: f64 = 1.0,
        /// Peak learning rate.
        learning_rate: f64 = 2e-4,
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

with_shared_settings!(LoraConfig);

impl LoraConfig {
    /// Checks every setting that can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.shared().validate()?;
        check(self.r > 0, "r", self.r, "at least 1")?;
        for (pattern, r) in &self.rank_pattern {
            let found = format!("{r} for {pattern:?}");
            check(*r > 0, "rank_pattern", found, "ranks of at least 1")?;
        }
        for (pattern, alpha) in &self.alpha_pattern {
            let found = format!("{alpha} for {pattern:?}");
            let valid = alpha.is_finite() && *alpha > 0.0;
            check(valid, "alpha_pattern", found, "positive numbers")?;
        }
        let ratio = self.loraplus_lr_ratio;
        check(ratio.is_finite() && ratio > 0.0, "loraplus_lr_ratio", ratio, "a positive number")
    }

    /// Checks that a weight has as many singular triplets as PiSSA is to take out of it.
    pub(super) fn check_rank(&self, rank: usize, weight: &ParamInfo) -> Result<(), Error> {
        let ParamInfo { path, shape, .. } = weight;
        check(
            self.init_lora_weights == LoraInit::Kaiming || rank <= shape[0].min(shape[1]),
            "r",
            format!("{rank} for `{path}` of shape {shape:?}"),
            "at most the weight's smaller dimension with PiSSA",
        )
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
    /// Refuses patterns that match none of `modules`, the adapted ones: they would change nothing.
    pub fn refuse_idle(&self, modules: &[&str]) -> Result<(), Error> {
        for (key, idle) in [
            ("rank_pattern", self.ranks.idle(modules)),
            ("alpha_pattern", self.alphas.idle(modules)),
        ] {
            if let Some(pattern) = idle {
                return Err(no_match(key, format!("{pattern:?}"), "adapted module", modules));
            }
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_out_of_range_is_named() {
        type Change = fn(LoraConfig) -> LoraConfig;
        let cases: [(&str, Change); 10] = [
            ("`total_steps` is 0", |c| LoraConfig { total_steps: 0, ..c }),
            ("`r` is 0", |c| c.with_r(0)),
            ("`rank_pattern` is 0 for \"q\"", |c| c.with_rank_pattern([("q".into(), 0)].into())),
            ("`lora_alpha` is 0", |c| c.with_lora_alpha(0.0)),
            ("`alpha_pattern` is NaN for \"q\"", |c| {
                c.with_alpha_pattern([("q".into(), f64::NAN)].into())
            }),
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

    #[test]
    fn patterns_that_match_no_adapted_module_are_refused() {
        let ranks = [("q_proj".to_string(), 2), ("q_prj".into(), 3)];
        let alphas = [("layers.7.q_proj".to_string(), 2.0)];
        let config = LoraConfig::new(1);
        for (config, pattern) in [
            (config.clone().with_rank_pattern(ranks.into()), "`rank_pattern` = \"q_prj\""),
            (config.with_alpha_pattern(alphas.into()), "`alpha_pattern` = \"layers.7.q_proj\""),
        ] {
            let modules = ["layers.0.q_proj", "layers.1.q_proj"];
            let error = config.ranks().unwrap().refuse_idle(&modules).unwrap_err();
            assert_eq!(error.to_string(), format!("{pattern} matches no adapted module"));
            assert_eq!(error.hint().unwrap(), "this model has: layers.0.q_proj, layers.1.q_proj");
        }
    }
}
