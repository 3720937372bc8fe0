//! The settings that LoRA's and AdaLoRA's configurations share.

use super::Update;
use crate::error::check;
use crate::schedule::{Decay, DenseSchedule, check_learning_rate};
use crate::{Catalogue, Error, Optimizer, ParamInfo, Targeting};

/// The settings every low-rank method has.
pub struct SharedSettings<'a> {
    pub total_steps: usize,
    pub targeting: Targeting<'a>,
    pub output_head: Option<&'a str>,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub learning_rate: f64,
    pub lr_scheduler: Decay,
    pub min_lr_ratio: f64,
    pub warmup_ratio: f64,
    pub optimizer: Optimizer,
}

impl SharedSettings<'_> {
    pub fn validate(&self) -> Result<(), Error> {
        let (alpha, dropout) = (self.lora_alpha, self.lora_dropout);
        check(self.total_steps > 0, "total_steps", self.total_steps, "at least 1")?;
        check(alpha.is_finite() && alpha > 0.0, "lora_alpha", alpha, "a positive number")?;
        check((0.0..1.0).contains(&dropout), "lora_dropout", dropout, "a share in [0, 1)")?;
        check_learning_rate(self.learning_rate, self.min_lr_ratio, self.warmup_ratio)?;
        self.optimizer.validate()
    }

    /// The weights that get an adapter: `all-linear` leaves the output head out, a name or an
    /// expression may select it.
    pub fn select<'c>(&self, catalogue: &'c Catalogue) -> Result<Vec<&'c ParamInfo>, Error> {
        let all = self.targeting.target_modules.is_all_linear();
        self.targeting.select(catalogue, self.output_head.filter(|_| all))
    }

    pub fn learning_rate(&self, step: usize) -> f64 {
        let schedule = DenseSchedule::new(self.total_steps, self.warmup_ratio, self.min_lr_ratio);
        self.learning_rate * schedule.with_decay(self.lr_scheduler).multiplier(step)
    }

    /// How every factor is stepped at `step`.
    pub fn update(&self, step: usize) -> Update {
        let learning_rate = self.learning_rate(step);
        Update { optimizer: self.optimizer, learning_rate, t: step + 1 }
    }
}

/// Gives a configuration a view of its settings that others have too.
macro_rules! with_shared_settings {
    ($config:ty) => {
        impl $config {
            pub(super) fn shared(&self) -> $crate::adapter::low_rank::SharedSettings<'_> {
                $crate::adapter::low_rank::SharedSettings {
                    total_steps: self.total_steps,
                    targeting: $crate::Targeting {
                        target_modules: &self.target_modules,
                        exclude_modules: self.exclude_modules.as_ref(),
                        layers_to_transform: self.layers_to_transform.as_deref(),
                    },
                    output_head: self.output_head.as_deref(),
                    lora_alpha: self.lora_alpha,
                    lora_dropout: self.lora_dropout,
                    learning_rate: self.learning_rate,
                    lr_scheduler: self.lr_scheduler,
                    min_lr_ratio: self.min_lr_ratio,
                    warmup_ratio: self.warmup_ratio,
                    optimizer: self.optimizer,
                }
            }
        }
    };
}

pub(in crate::adapter) use with_shared_settings;
