//! Settings of a LoSiA run.

use crate::error::check;
use crate::schedule::{
    DenseSchedule, LrScheduler, Slots, SubnetSchedule, UpdateType, check_learning_rate,
};
use crate::settings::settings;
use crate::{Error, Sensitivity, TargetModules, Targeting};

settings! {
    /// Settings of LoSiA, with the reference's defaults.
    pub struct LosiaConfig {
        /// Optimizer steps of the whole run; the global learning-rate curve needs them.
        total_steps: usize,
        /// Modules whose weights get a subnet.
        target_modules: TargetModules = TargetModules::all_linear(),
        /// Modules left out of `target_modules`.
        exclude_modules: Option<TargetModules> = None,
        /// Layers taken, all unless given: see
        /// [`Targeting::layers_to_transform`](crate::Targeting::layers_to_transform).
        layers_to_transform: Option<Vec<usize>> = None,
        /// Share of a weight's rows and of its columns that is trained, `p`, in (0, 1].
        rank_factor: f64 = 0.125,
        /// Steps in a slot, `T`: how long a layer's importance is gathered before its subnet moves.
        period: usize = 100,
        /// Share of the output head's rows (vocabulary entries) that is trained, in [0, 1]. 0 leaves
        /// the head to `modules_to_save`.
        output_dim_factor: f64 = 0.0,
        /// Path of the output head's weight, such as `lm_head.weight`, or that of the tied embedding.
        output_head: Option<String> = None,
        /// Peak learning rate of the subnets.
        learning_rate: f64 = 2e-5,
        /// Shape of the learning rate over the run.
        lr_scheduler: LrScheduler = LrScheduler::Cosine,
        /// Where the cosine ends, as a share of the peak.
        min_lr_ratio: f64 = 0.1,
        /// Share of the run spent warming up.
        warmup_ratio: f64 = 0.1,
        /// Decoupled weight decay of the trained entries.
        weight_decay: f64 = 0.0,
        /// Factor on the subnets' gradients.
        scale: f64 = 1.0,
        /// Which layers share a slot.
        update_type: UpdateType = UpdateType::Asynchronous,
        /// How importance is measured (the reference's `taylor_type`).
        sensitivity: Sensitivity = Sensitivity::ParamMix,
        /// Smoothing of importance.
        imp_beta1: f64 = 0.85,
        /// Smoothing of uncertainty.
        imp_beta2: f64 = 0.85,
        /// Adam's first decay rate.
        beta1: f64 = 0.9,
        /// Adam's second decay rate.
        beta2: f64 = 0.999,
        /// Added to the root of Adam's second moment before bias correction.
        eps: f64 = 1e-6,
        /// Whether Adam's step count restarts when a subnet moves. The reference keeps counting, so
        /// that the first updates after a move are amplified up to 6.6 times; its published numbers
        /// were obtained so.
        reset_step_count: bool = false,
        /// LoSiA-Pro: compute subnets on activations, so that a weight outside its own slot gets no
        /// dense gradient. `false` composes dense weights: same numbers, more time and memory.
        pro: bool = true,
        /// Keeps, on the host, the original entries of every block that is settled, so that
        /// [`Tuner::detach`](crate::Tuner::detach) and
        /// [`SettledBlocks::undo`](crate::store::SettledBlocks::undo) can restore the base bit for
        /// bit. Doubles the memory of the settled blocks.
        journal: bool = false,
        /// Seed of the first, random subnets.
        seed: u64 = 0,
    }
}

impl LosiaConfig {
    /// Checks every setting that can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let unit = |x: f64| (0.0..1.0).contains(&x);
        check(self.total_steps > 0, "total_steps", self.total_steps, "at least 1")?;
        let p = self.rank_factor;
        check(p > 0.0 && p <= 1.0, "rank_factor", p, "a share in (0, 1]")?;
        check(self.period > 0, "period", self.period, "at least 1")?;
        let head = self.output_dim_factor;
        check((0.0..=1.0).contains(&head), "output_dim_factor", head, "a share in [0, 1]")?;
        let needs_head = head > 0.0 && self.output_head.is_none();
        check(!needs_head, "output_head", "unset", "a path when output_dim_factor > 0")?;
        check_learning_rate(self.learning_rate, self.min_lr_ratio, self.warmup_ratio)?;
        let wd = self.weight_decay;
        check(wd.is_finite() && wd >= 0.0, "weight_decay", wd, "a finite rate, 0 or more")?;
        check(self.scale.is_finite(), "scale", self.scale, "a finite factor")?;
        for (key, beta) in [
            ("imp_beta1", self.imp_beta1),
            ("imp_beta2", self.imp_beta2),
            ("beta1", self.beta1),
            ("beta2", self.beta2),
        ] {
            check(unit(beta), key, beta, "a decay rate in [0, 1)")?;
        }
        check(self.eps.is_finite() && self.eps > 0.0, "eps", self.eps, "a positive number")
    }

    pub(super) fn targeting(&self) -> Targeting<'_> {
        Targeting {
            target_modules: &self.target_modules,
            exclude_modules: self.exclude_modules.as_ref(),
            layers_to_transform: self.layers_to_transform.as_deref(),
        }
    }

    pub(super) fn slots(&self, count: usize) -> Slots {
        Slots { period: self.period, count, update_type: self.update_type }
    }

    pub(super) fn schedule(&self, slots: &Slots) -> SubnetSchedule {
        SubnetSchedule {
            scheduler: self.lr_scheduler,
            period: slots.period,
            cycle: match slots.update_type {
                UpdateType::Asynchronous | UpdateType::Synchronous => slots.cycle(),
                UpdateType::Fixed => self.total_steps,
            },
            global: DenseSchedule::new(self.total_steps, self.warmup_ratio, self.min_lr_ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_out_of_range_is_named() {
        type Change = fn(LosiaConfig) -> LosiaConfig;
        let cases: [(&str, Change); 22] = [
            ("`total_steps` is 0", |c| LosiaConfig { total_steps: 0, ..c }),
            ("`rank_factor` is 0", |c| c.with_rank_factor(0.0)),
            ("`rank_factor` is 1.5", |c| c.with_rank_factor(1.5)),
            ("`rank_factor` is NaN", |c| c.with_rank_factor(f64::NAN)),
            ("`period` is 0", |c| c.with_period(0)),
            ("`output_dim_factor` is -0.5", |c| c.with_output_dim_factor(-0.5)),
            ("`output_head` is unset", |c| c.with_output_dim_factor(0.5)),
            ("`learning_rate` is -1", |c| c.with_learning_rate(-1.0)),
            ("`learning_rate` is inf", |c| c.with_learning_rate(f64::INFINITY)),
            ("`min_lr_ratio` is 2", |c| c.with_min_lr_ratio(2.0)),
            ("`warmup_ratio` is -0.1", |c| c.with_warmup_ratio(-0.1)),
            ("`weight_decay` is -1", |c| c.with_weight_decay(-1.0)),
            ("`weight_decay` is NaN", |c| c.with_weight_decay(f64::NAN)),
            ("`scale` is inf", |c| c.with_scale(f64::INFINITY)),
            ("`imp_beta1` is 1", |c| c.with_imp_beta1(1.0)),
            ("`imp_beta2` is -0.1", |c| c.with_imp_beta2(-0.1)),
            ("`beta1` is 1", |c| c.with_beta1(1.0)),
            ("`beta2` is 1.5", |c| c.with_beta2(1.5)),
            ("`beta2` is NaN", |c| c.with_beta2(f64::NAN)),
            ("`eps` is 0", |c| c.with_eps(0.0)),
            ("`eps` is inf", |c| c.with_eps(f64::INFINITY)),
            ("`eps` is NaN", |c| c.with_eps(f64::NAN)),
        ];
        LosiaConfig::new(10).validate().expect("the defaults are valid");
        for (message, change) in cases {
            let error = change(LosiaConfig::new(10)).validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{message}, expected ")), "{message}: {error}");
        }
    }

    #[test]
    fn without_moves_a_cycle_is_the_whole_run() {
        let rate = |update_type, step| {
            let config = LosiaConfig::new(40).with_period(10).with_update_type(update_type);
            let slots = config.slots(2);
            config.schedule(&slots).multiplier(step, slots.latest_restart(step, 0))
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} against {b}");
        close(rate(UpdateType::Fixed, 5), 0.5);
        close(rate(UpdateType::Fixed, 10), 1.0);
        close(rate(UpdateType::Fixed, 25), 0.55); // half-way down to 0.1
        close(rate(UpdateType::Fixed, 40), 0.1);
        close(rate(UpdateType::Asynchronous, 25), 0.55); // moved at 10, half-way to 30
        close(rate(UpdateType::Asynchronous, 31), 1e-7); // moved at 30
    }
}
