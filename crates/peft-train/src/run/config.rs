//! Settings of a run beside its method.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Settings of a run beside its method's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Samples per forward pass.
    pub micro_batch_size: NonZeroUsize,
    /// Forward passes per optimizer step. A last, partial window of an epoch is a step too.
    pub gradient_accumulation_steps: NonZeroUsize,
    /// Passes over the training data.
    pub num_epochs: NonZeroUsize,
    /// Stops after that many optimizer steps, if the epochs have not ended before.
    pub max_steps: Option<usize>,
    /// Clips the global norm of the gradients of everything that trains.
    pub max_grad_norm: Option<f64>,
    /// Decay of densely trained parameters, decoupled (AdamW).
    pub weight_decay: f32,
    /// Seed of the order of samples.
    pub seed: u64,
    /// Puts samples of like length into a batch, to save padding.
    pub group_by_length: bool,
    /// Steps between lines in `metrics.jsonl`.
    pub logging_steps: NonZeroUsize,
    /// Steps between checkpoints. One more is written at the end of the run, and of every epoch
    /// where there is a validation. `None` writes one only when the run is interrupted.
    pub save_steps: Option<NonZeroUsize>,
    /// Checkpoints kept: the newest, and beside them the one with the lowest validation loss.
    /// `None` keeps all.
    pub save_total_limit: Option<NonZeroUsize>,
    /// Lets a run remove the checkpoints another run left in its output folder. Without it such a
    /// folder is refused, unless the run goes on from one of them.
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
            num_epochs: one,
            max_steps: None,
            max_grad_norm: Some(1.0),
            weight_decay: 0.0,
            seed: 0,
            group_by_length: false,
            logging_steps: one,
            save_steps: None,
            save_total_limit: None,
            overwrite_output_dir: false,
            max_nonfinite_steps: NonZeroUsize::new(5).unwrap_or(one),
        }
    }
}

impl TrainConfig {
    /// Optimizer steps in an epoch of `samples`.
    pub fn steps_per_epoch(&self, samples: usize) -> usize {
        let batches = samples.div_ceil(self.micro_batch_size.get());
        batches.div_ceil(self.gradient_accumulation_steps.get())
    }

    /// Optimizer steps of the whole run on `samples`: what schedules are made for.
    pub fn total_steps(&self, samples: usize) -> usize {
        let all = self.steps_per_epoch(samples) * self.num_epochs.get();
        self.max_steps.map_or(all, |max| all.min(max))
    }

    /// Epoch, from 0, and batches already consumed in it after `windows` optimizer steps, skipped
    /// ones included.
    pub(super) fn position(&self, windows: usize, samples: usize) -> (u64, usize) {
        let per_epoch = self.steps_per_epoch(samples).max(1);
        let within = windows % per_epoch * self.gradient_accumulation_steps.get();
        ((windows / per_epoch) as u64, within)
    }

    /// The settings that decide the weights, which a resume may not change. The others say what is
    /// written and when a run gives up.
    pub(super) fn identity(&self) -> Value {
        let Self {
            micro_batch_size,
            gradient_accumulation_steps,
            num_epochs,
            max_steps,
            max_grad_norm,
            weight_decay,
            seed,
            group_by_length,
            logging_steps: _,
            save_steps: _,
            save_total_limit: _,
            overwrite_output_dir: _,
            max_nonfinite_steps: _,
        } = self;
        json!({
            "micro_batch_size": micro_batch_size,
            "gradient_accumulation_steps": gradient_accumulation_steps,
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
    }
}
