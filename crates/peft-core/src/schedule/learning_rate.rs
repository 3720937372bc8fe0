//! Learning-rate multipliers of the LoSiA reference, exactly as it computes them.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Shape of a subnet's learning rate over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrScheduler {
    /// One period of linear warm-up after every re-localisation, then a cosine down to
    /// `min_lr_ratio` at the end of the cycle; no global decay. `warmup_ratio` and the total
    /// number of steps play no part.
    Cosine,
    /// Global warm-up and one cosine over the run; after a re-localisation the rate climbs back
    /// to that curve within one period.
    CosineRestarts,
    /// The global curve of [`CosineRestarts`](Self::CosineRestarts) without rewarming (an
    /// ablation of the paper).
    NoRewarming,
}

/// Learning-rate multiplier of subnet parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SubnetSchedule {
    /// Shape of the curve.
    pub scheduler: LrScheduler,
    /// Steps in a slot.
    pub period: usize,
    /// Steps in a cycle of all slots.
    pub cycle: usize,
    /// The global curve.
    pub global: DenseSchedule,
}

impl SubnetSchedule {
    /// Multiplier at `step`, for a subnet first trained at step `restart` (0: not yet moved).
    pub fn multiplier(&self, step: usize, restart: usize) -> f64 {
        match self.scheduler {
            LrScheduler::Cosine => self.cosine(step, restart),
            LrScheduler::CosineRestarts => self.cosine_restarts(step, restart),
            LrScheduler::NoRewarming => self.global.curve(step),
        }
    }

    fn cosine(&self, step: usize, restart: usize) -> f64 {
        let since = step - restart;
        if since >= self.period {
            let progress = (since - self.period) as f64 / (self.cycle - self.period).max(1) as f64;
            return self.global.floored_cosine(progress);
        }
        match restart > 0 && since < 2 {
            true => 1e-7, // the reference's stand-in for zero right after a move
            false => since as f64 / self.period as f64,
        }
    }

    fn cosine_restarts(&self, step: usize, restart: usize) -> f64 {
        let since = step - restart;
        if step < self.global.warmup_steps || since >= self.period {
            return self.global.curve(step);
        }
        // The envelope is taken at the restart, not shifted by the warm-up as the curve is.
        let envelope = self.global.floored_cosine(restart as f64 / self.global.decay_steps());
        since as f64 / self.period as f64 * envelope
    }
}

/// Learning-rate multiplier of densely trained parameters: linear warm-up from 0, then a cosine to
/// `min_lr_ratio`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseSchedule {
    /// Steps of warm-up.
    pub warmup_steps: usize,
    /// Steps of the whole run.
    pub total_steps: usize,
    /// Where the cosine ends.
    pub min_lr_ratio: f64,
}

impl DenseSchedule {
    /// The schedule of a run: warm-up steps are `total_steps · warmup_ratio`, truncated.
    pub fn new(total_steps: usize, warmup_ratio: f64, min_lr_ratio: f64) -> Self {
        let warmup_steps = (total_steps as f64 * warmup_ratio) as usize;
        Self { warmup_steps, total_steps, min_lr_ratio }
    }

    /// Multiplier at `step`. A run that goes on past its total starts the curve again, with 1e-7
    /// at its first two steps.
    pub fn multiplier(&self, step: usize) -> f64 {
        let within = step % self.total_steps.max(1);
        match step > within && within < 2 {
            true => 1e-7,
            false => self.curve(within),
        }
    }

    /// The same curve, unbounded: past the total, the cosine rises again.
    fn curve(&self, step: usize) -> f64 {
        match step < self.warmup_steps {
            true => step as f64 / self.warmup_steps.max(1) as f64,
            false => self.floored_cosine((step - self.warmup_steps) as f64 / self.decay_steps()),
        }
    }

    fn decay_steps(&self) -> f64 {
        self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64
    }

    fn floored_cosine(&self, progress: f64) -> f64 {
        self.min_lr_ratio + (1.0 - self.min_lr_ratio) * 0.5 * (1.0 + (PI * progress).cos())
    }
}
