//! Settings of a LoSiA run.

use burn::config::Config;

use crate::error::check;
use crate::schedule::{DenseSchedule, LrScheduler, Slots, SubnetSchedule, UpdateType};
use crate::{Error, Sensitivity, TargetModules};

/// Settings of LoSiA, with the reference's defaults.
#[derive(Config, Debug, PartialEq)]
pub struct LosiaConfig {
    /// Optimizer steps of the whole run; the global learning-rate curve needs them.
    pub total_steps: usize,
    /// Modules whose weights get a subnet.
    #[config(default = "TargetModules::all_linear()")]
    pub target_modules: TargetModules,
    /// Share of a weight's rows and of its columns that is trained, `p`, in (0, 1].
    #[config(default = 0.125)]
    pub rank_factor: f64,
    /// Steps in a slot, `T`: how long a layer's importance is gathered before its subnet moves.
    #[config(default = 100)]
    pub period: usize,
    /// Share of the output head's rows (vocabulary entries) that is trained, in [0, 1]. 0 leaves
    /// the head to `modules_to_save`.
    #[config(default = 0.0)]
    pub output_dim_factor: f64,
    /// Path of the output head's weight, such as `lm_head.weight`, or that of the tied embedding.
    pub output_head: Option<String>,
    /// Peak learning rate of the subnets.
    #[config(default = 2e-5)]
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    #[config(default = "LrScheduler::Cosine")]
    pub lr_scheduler: LrScheduler,
    /// Where the cosine ends, as a share of the peak.
    #[config(default = 0.1)]
    pub min_lr_ratio: f64,
    /// Share of the run spent warming up.
    #[config(default = 0.1)]
    pub warmup_ratio: f64,
    /// Decoupled weight decay of the trained entries.
    #[config(default = 0.0)]
    pub weight_decay: f64,
    /// Factor on the subnets' gradients.
    #[config(default = 1.0)]
    pub scale: f64,
    /// Which layers share a slot.
    #[config(default = "UpdateType::Asynchronous")]
    pub update_type: UpdateType,
    /// How importance is measured (the reference's `taylor_type`).
    #[config(default = "Sensitivity::ParamMix")]
    pub sensitivity: Sensitivity,
    /// Smoothing of importance.
    #[config(default = 0.85)]
    pub imp_beta1: f64,
    /// Smoothing of uncertainty.
    #[config(default = 0.85)]
    pub imp_beta2: f64,
    /// Adam's first decay rate.
    #[config(default = 0.9)]
    pub beta1: f64,
    /// Adam's second decay rate.
    #[config(default = 0.999)]
    pub beta2: f64,
    /// Added to the root of Adam's second moment before bias correction.
    #[config(default = 1e-6)]
    pub eps: f64,
    /// Whether Adam's step count restarts when a subnet moves. The reference keeps counting, so
    /// that the first updates after a move are amplified up to 6.6 times; its published numbers
    /// were obtained so.
    #[config(default = false)]
    pub reset_step_count: bool,
    /// LoSiA-Pro: compute subnets on activations, so that a weight outside its own slot gets no
    /// dense gradient. `false` composes dense weights: same numbers, more time and memory.
    #[config(default = true)]
    pub pro: bool,
    /// Seed of the first, random subnets.
    #[config(default = 0)]
    pub seed: u64,
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
        let lr = self.learning_rate;
        check(lr.is_finite() && lr >= 0.0, "learning_rate", lr, "a finite rate, 0 or more")?;
        for (key, ratio) in
            [("min_lr_ratio", self.min_lr_ratio), ("warmup_ratio", self.warmup_ratio)]
        {
            check((0.0..=1.0).contains(&ratio), key, ratio, "a share in [0, 1]")?;
        }
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
        check(self.eps > 0.0, "eps", self.eps, "a positive number")
    }

    pub(super) fn slots(&self, count: usize) -> Slots {
        Slots { period: self.period, count, update_type: self.update_type }
    }

    pub(super) fn schedule(&self, slots: &Slots) -> SubnetSchedule {
        SubnetSchedule {
            scheduler: self.lr_scheduler,
            period: slots.period,
            cycle: slots.cycle(),
            global: DenseSchedule::new(self.total_steps, self.warmup_ratio, self.min_lr_ratio),
        }
    }
}
