//! Where the time of a step goes.

use std::time::Instant;

use serde::Serialize;

/// Seconds by what they were spent on.
///
/// A device that computes in the background is waited for where a value is read back, at the end of
/// each backward pass: the optimizer's own work there counts into the next step's forward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct StepTime {
    /// Making batches, and the Learner's metrics.
    pub data: f64,
    /// Forward and backward passes.
    pub forward_backward: f64,
    /// Importance, clipping, and the steps of optimizer and method.
    pub optimizer: f64,
    /// Validation.
    pub evaluation: f64,
    /// Writing checkpoints.
    pub checkpoint: f64,
}

impl StepTime {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.data + self.forward_backward + self.optimizer + self.evaluation + self.checkpoint
    }
}

/// A stop watch whose every second is counted under one of the parts.
pub(super) struct Clock {
    since: Instant,
    time: StepTime,
}

impl Clock {
    pub fn start() -> Self {
        Self { since: Instant::now(), time: StepTime::default() }
    }

    /// Counts the time since the last lap under `part`.
    pub fn lap(&mut self, part: impl FnOnce(&mut StepTime) -> &mut f64) {
        let now = Instant::now();
        *part(&mut self.time) += now.duration_since(self.since).as_secs_f64();
        self.since = now;
    }

    /// What was counted so far; counting begins anew.
    pub fn take(&mut self) -> StepTime {
        std::mem::take(&mut self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_counted_once() {
        let begin = Instant::now();
        let mut clock = Clock::start();
        std::thread::sleep(std::time::Duration::from_millis(3));
        clock.lap(|time| &mut time.forward_backward);
        clock.lap(|time| &mut time.optimizer);
        let (time, elapsed) = (clock.take(), begin.elapsed().as_secs_f64());
        assert!(time.forward_backward >= 3e-3 && time.total() <= elapsed, "{time:?}");
        assert_eq!(clock.take(), StepTime::default());
    }
}
