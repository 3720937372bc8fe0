//! Settings of a run beside its method.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::segments::Segments;

/// Settings of a run beside its method's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Samples per forward pass.
    pub micro_batch_size: NonZeroUsize,
    /// Forward passes of each device per optimizer step. A last, partial window of an epoch is a
    /// step too.
    pub gradient_accumulation_steps: NonZeroUsize,
    /// Devices that share the batches of a step.
    pub data_parallel_size: NonZeroUsize,
    /// Passes over the training data.
    pub num_epochs: NonZeroUsize,
    /// Optimizer steps of the run, in place of `num_epochs`.
    pub max_steps: Option<usize>,
    /// Clips the global norm of the gradients of everything that trains.
    pub max_grad_norm: Option<f64>,
    /// Decay of densely trained parameters but norms and biases, decoupled (AdamW).
    pub weight_decay: f32,
    /// Seed of the order of samples and of dropout.
    pub seed: u64,
    /// Puts samples of like length into a batch, to save padding.
    pub group_by_length: bool,
    /// Steps between lines in `metrics.jsonl`.
    pub logging_steps: NonZeroUsize,
    /// Steps between validations, skipped ones counted; one more is at the end of the run. `None`
    /// validates at the end of every epoch.
    pub eval_steps: Option<NonZeroUsize>,
    /// Validations in a row without a lower loss after which the run ends: it is completed then.
    /// `None` takes all steps. Refused for AdaLoRA, whose ranks are decided at a certain step.
    pub early_stopping_patience: Option<NonZeroUsize>,
    /// Steps between checkpoints. One more is written at the end of the run, and before every
    /// validation. `None` writes only the one at the end, and one when the run is interrupted.
    pub save_steps: Option<NonZeroUsize>,
    /// Checkpoints kept: the newest, and beside them the one with the lowest validation loss.
    /// `None` keeps all.
    pub save_total_limit: Option<NonZeroUsize>,
    /// Lets a run remove what another one left in its output folder. Without it a folder with
    /// checkpoints or results is refused, unless the run goes on from one of the checkpoints.
    pub overwrite_output_dir: bool,
    /// Steps in a row that are skipped because their loss or gradients are not finite, after which
    /// the run stops.
    pub max_nonfinite_steps: NonZeroUsize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        let one = NonZeroUsize::MIN;
        Self {
            micro_batch_size: one,
            gradient_accumulation_steps: one,
            data_parallel_size: one,
            num_epochs: one,
            max_steps: None,
            max_grad_norm: Some(1.0),
            weight_decay: 0.0,
            seed: 0,
            group_by_length: false,
            logging_steps: one,
            eval_steps: None,
            early_stopping_patience: None,
            save_steps: None,
            save_total_limit: None,
            overwrite_output_dir: false,
            max_nonfinite_steps: NonZeroUsize::new(5).unwrap_or(one),
        }
    }
}

impl TrainConfig {
    /// Batches in an optimizer step, on all devices together.
    pub fn batches_per_step(&self) -> NonZeroUsize {
        self.gradient_accumulation_steps.saturating_mul(self.data_parallel_size)
    }

    /// Optimizer steps in an epoch of `samples`.
    pub fn steps_per_epoch(&self, samples: usize) -> usize {
        let batches = samples.div_ceil(self.micro_batch_size.get());
        batches.div_ceil(self.batches_per_step().get())
    }

    /// Optimizer steps of the whole run on `samples`: what schedules are made for.
    pub fn total_steps(&self, samples: usize) -> usize {
        let per_epoch = self.steps_per_epoch(samples);
        self.max_steps.unwrap_or(per_epoch.saturating_mul(self.num_epochs.get()))
    }

    /// The setting that asks for validations, and its value.
    pub(crate) fn asks_for_validation(&self) -> Option<(&'static str, NonZeroUsize)> {
        let patience = || Some(("early_stopping_patience", self.early_stopping_patience?));
        self.eval_steps.map(|steps| ("eval_steps", steps)).or_else(patience)
    }

    /// The segments of a run on `samples`.
    pub(crate) fn segments(&self, samples: usize) -> Segments {
        let steps_per_epoch = NonZeroUsize::new(self.steps_per_epoch(samples));
        let steps_per_epoch = steps_per_epoch.unwrap_or(NonZeroUsize::MIN);
        Segments { steps_per_epoch, eval_steps: self.eval_steps }
    }

    /// Epoch, from 0, and batches already consumed in it, on all devices together, after `windows`
    /// optimizer steps, skipped ones included.
    pub(super) fn position(&self, windows: usize, samples: usize) -> (u64, usize) {
        let per_epoch = self.steps_per_epoch(samples).max(1);
        let within = (windows % per_epoch).saturating_mul(self.batches_per_step().get());
        ((windows / per_epoch) as u64, within)
    }

    /// The settings that decide the weights, which a resume may not change. The others say what is
    /// written and when a run gives up. How the batches of a step are shared out between devices
    /// and rounds decides nothing.
    pub(super) fn identity(&self) -> Value {
        let Self {
            micro_batch_size,
            gradient_accumulation_steps: _,
            data_parallel_size: _,
            num_epochs,
            max_steps,
            max_grad_norm,
            weight_decay,
            seed,
            group_by_length,
            logging_steps: _,
            eval_steps: _,
            early_stopping_patience: _,
            save_steps: _,
            save_total_limit: _,
            overwrite_output_dir: _,
            max_nonfinite_steps: _,
        } = self;
        json!({
            "micro_batch_size": micro_batch_size,
            "batches_per_step": self.batches_per_step(),
            "num_epochs": num_epochs,
            "max_steps": max_steps,
            "max_grad_norm": max_grad_norm,
            "weight_decay": weight_decay,
            "seed": seed,
            "group_by_length": group_by_length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_positions_count_partial_windows() {
        let of = |n| NonZeroUsize::new(n).unwrap();
        let config = TrainConfig {
            micro_batch_size: of(4),
            gradient_accumulation_steps: of(2),
            num_epochs: of(3),
            ..Default::default()
        };
        // 18 samples: 5 batches, 3 steps (2 + 2 + 1).
        assert_eq!(config.steps_per_epoch(18), 3);
        assert_eq!(config.total_steps(18), 9);
        assert_eq!(config.position(4, 18), (1, 2));
        assert_eq!(config.position(6, 18), (2, 0));
        let capped = TrainConfig { max_steps: Some(5), ..config };
        assert_eq!(capped.total_steps(18), 5);
        let longer = TrainConfig { max_steps: Some(50), ..capped };
        assert_eq!(longer.total_steps(18), 50);
    }

    #[test]
    fn devices_share_the_batches_of_a_step() {
        let of = |n| NonZeroUsize::new(n).unwrap();
        let one = TrainConfig { gradient_accumulation_steps: of(6), ..Default::default() };
        let three = TrainConfig {
            gradient_accumulation_steps: of(2),
            data_parallel_size: of(3),
            ..Default::default()
        };
        for config in [&one, &three] {
            // 20 samples: 20 batches, 4 steps (6 + 6 + 6 + 2).
            assert_eq!((config.steps_per_epoch(20), config.position(6, 20)), (4, (1, 12)));
        }
        assert_eq!(one.identity(), three.identity());
    }
}
