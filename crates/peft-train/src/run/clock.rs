//! Where the time of a step goes.

use std::time::{Duration, Instant};

use burn::tensor::Device;
use peft_core::is_cpu;
use serde::Serialize;

/// Seconds by what they were spent on.
///
/// A device that computes in the background is waited for after each part. Several devices are not, as
/// their passes overlap: their work counts where a value is read back, at the end of a step's last
/// backward pass. Each second counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct StepTime {
    /// Making batches, and the Learner's metrics.
    pub data: f64,
    /// Forward passes.
    pub forward: f64,
    /// Backward passes.
    pub backward: f64,
    /// The method's look at the gradients: importance, penalty. Of a device that computes in the
    /// background, what the host took to ask for it.
    pub method: f64,
    /// Clipping, and new values of what trains.
    pub optimizer: f64,
    /// Validation.
    pub evaluation: f64,
    /// Writing checkpoints.
    pub checkpoint: f64,
}

impl StepTime {
    /// All of it.
    pub fn total(&self) -> f64 {
        let training = self.data + self.forward + self.backward + self.method + self.optimizer;
        training + self.evaluation + self.checkpoint
    }
}

/// A stop watch whose every second is counted under one of the parts.
pub(super) struct Clock {
    since: Instant,
    time: StepTime,
    /// What is waited for at every lap.
    device: Option<Device>,
}

impl Clock {
    /// Of steps on `devices`.
    pub fn start(devices: &[Device]) -> Self {
        let device = match devices {
            [one] if !is_cpu(one) => Some(one.clone().inner()),
            _ => None,
        };
        Self { since: Instant::now(), time: StepTime::default(), device }
    }

    /// Counts the time since the last lap under `part`.
    pub fn lap(&mut self, part: impl FnOnce(&mut StepTime) -> &mut f64) {
        if let Some(device) = &self.device {
            let _ = device.sync(); // an error comes again with the next value that is read
        }
        let now = Instant::now();
        *part(&mut self.time) += now.duration_since(self.since).as_secs_f64();
        self.since = now;
    }

    /// Counts the time since the last lap as an optimizer step, `method` of it as the method's look at
    /// the gradients.
    pub fn lap_step(&mut self, method: Duration) {
        self.lap(|time| &mut time.optimizer);
        self.time.optimizer -= method.as_secs_f64();
        self.time.method += method.as_secs_f64();
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
        let mut clock = Clock::start(&[peft_testing::device()]);
        std::thread::sleep(Duration::from_millis(3));
        clock.lap(|time| &mut time.forward);
        std::thread::sleep(Duration::from_millis(3));
        clock.lap_step(Duration::from_millis(2));
        let (time, elapsed) = (clock.take(), begin.elapsed().as_secs_f64());
        assert!(time.forward >= 3e-3 && time.optimizer >= 1e-3 && time.method == 2e-3, "{time:?}");
        assert!(time.total() <= elapsed, "{time:?}");
        assert_eq!(clock.take(), StepTime::default());
    }
}
