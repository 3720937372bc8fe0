//! Learning-rate multipliers of the LoSiA reference, exactly as it computes them.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::check;

/// Shape of a subnet's learning rate over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
    /// Steps in a cycle of all slots; those of the whole run where subnets never move.
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
        let since = step.saturating_sub(restart);
        if since >= self.period {
            let decay_steps = self.cycle.saturating_sub(self.period).max(1);
            return self.global.floored_cosine((since - self.period) as f64 / decay_steps as f64);
        }
        match restart > 0 && since < 2 {
            true => 1e-7, // the reference's stand-in for zero right after a move
            false => since as f64 / self.period as f64,
        }
    }

    fn cosine_restarts(&self, step: usize, restart: usize) -> f64 {
        let since = step.saturating_sub(restart);
        if step < self.global.warmup_steps || since >= self.period {
            return self.global.curve(step);
        }
        // The envelope is taken at the restart, not shifted by the warm-up as the curve is.
        let envelope = self.global.floored_cosine(restart as f64 / self.global.decay_steps());
        since as f64 / self.period as f64 * envelope
    }
}

/// How a learning rate falls after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Along half a cosine, down to `min_lr_ratio`.
    #[default]
    Cosine,
    /// Along a line, down to `min_lr_ratio`.
    Linear,
    /// Not at all.
    Constant,
}

/// Learning-rate multiplier of parameters that train all the time: linear warm-up from 0, then a
/// decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseSchedule {
    /// The decay.
    pub decay: Decay,
    /// Steps of warm-up.
    pub warmup_steps: usize,
    /// Steps of the whole run.
    pub total_steps: usize,
    /// Where the decay ends.
    pub min_lr_ratio: f64,
}

impl DenseSchedule {
    /// The schedule of a run, with a cosine: warm-up steps are `total_steps · warmup_ratio`, truncated.
    pub fn new(total_steps: usize, warmup_ratio: f64, min_lr_ratio: f64) -> Self {
        let warmup_steps = (total_steps as f64 * warmup_ratio) as usize;
        Self { decay: Decay::Cosine, warmup_steps, total_steps, min_lr_ratio }
    }

    /// The schedule with another decay.
    #[must_use]
    pub fn with_decay(self, decay: Decay) -> Self {
        Self { decay, ..self }
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

    /// The same curve, unbounded: past the total, a cosine rises again.
    fn curve(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps.max(1) as f64;
        }
        let progress = (step - self.warmup_steps) as f64 / self.decay_steps();
        match self.decay {
            Decay::Cosine => self.floored_cosine(progress),
            Decay::Linear => 1.0 - (1.0 - self.min_lr_ratio) * progress.min(1.0),
            Decay::Constant => 1.0,
        }
    }

    fn decay_steps(&self) -> f64 {
        self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64
    }

    fn floored_cosine(&self, progress: f64) -> f64 {
        self.min_lr_ratio + (1.0 - self.min_lr_ratio) * 0.5 * (1.0 + (PI * progress).cos())
    }
}

/// Checks the settings of a learning rate.
///
/// # Errors
/// [`Error::Setting`] with the first one out of range.
pub(crate) fn check_learning_rate(
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

    fn subnet(scheduler: LrScheduler) -> SubnetSchedule {
        let global = DenseSchedule::new(100, 0.1, 0.1); // 10 steps of warm-up
        SubnetSchedule { scheduler, period: 4, cycle: 12, global }
    }

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-12, "{got} against {want}");
    }

    #[test]
    fn cosine_rewarms_over_one_period_and_decays_over_the_cycle() {
        let schedule = subnet(LrScheduler::Cosine);
        for (since, want) in [(0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0), (8, 0.55), (12, 0.1)] {
            close(schedule.multiplier(since, 0), want);
        }
        for (since, want) in [(0, 1e-7), (1, 1e-7), (2, 0.5), (3, 0.75), (4, 1.0), (8, 0.55)] {
            close(schedule.multiplier(24 + since, 24), want);
        }
    }

    #[test]
    fn restarts_climb_back_to_the_global_curve() {
        let schedule = subnet(LrScheduler::CosineRestarts);
        close(schedule.multiplier(5, 4), 0.5); // the global warm-up hides the restart
        close(schedule.multiplier(45, 45), 0.0);
        close(schedule.multiplier(47, 45), 0.5 * 0.55); // envelope: half-way of 90 steps
        close(schedule.multiplier(55, 45), 0.55); // curve: 45 of 90 steps after the warm-up
    }

    #[test]
    fn without_rewarming_a_restart_changes_nothing() {
        let schedule = subnet(LrScheduler::NoRewarming);
        for (step, want) in [(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.55), (100, 0.1)] {
            close(schedule.multiplier(step, step), want);
            close(schedule.multiplier(step, 0), want);
        }
    }

    #[test]
    fn the_dense_curve_starts_again_after_its_end() {
        let schedule = DenseSchedule::new(100, 0.1, 0.1);
        for (step, want) in [(0, 0.0), (1, 0.1), (55, 0.55), (100, 1e-7), (101, 1e-7), (102, 0.2)] {
            close(schedule.multiplier(step), want);
        }
        close(DenseSchedule::new(10, 0.0, 0.1).multiplier(0), 1.0);
    }

    #[test]
    fn every_decay_follows_the_same_warmup() {
        for (decay, half, end) in
            [(Decay::Cosine, 0.6, 0.2), (Decay::Linear, 0.6, 0.2), (Decay::Constant, 1.0, 1.0)]
        {
            let schedule = DenseSchedule::new(100, 0.1, 0.2).with_decay(decay);
            for (step, want) in [(0, 0.0), (5, 0.5), (10, 1.0), (55, half)] {
                close(schedule.multiplier(step), want);
            }
            assert!((schedule.multiplier(99) - end).abs() < 0.01, "{decay:?}");
        }
        let quarter = |decay| DenseSchedule::new(100, 0.0, 0.0).with_decay(decay).multiplier(25);
        close(quarter(Decay::Linear), 0.75);
        close(quarter(Decay::Cosine), 0.5 + 0.5 * 0.5_f64.sqrt());
    }
}
