//! What a run writes into `metrics.jsonl`.

use burn::tensor::Tensor;
use peft_core::{Event, StepReport};
use serde::Serialize;

use super::checkpoint::Progress;
use super::clock::{Clock, StepTime};
use super::window::{Measured, Window};
use crate::Error;
use crate::report::{MetricsLog, peak_memory_bytes};

/// The log, and what is gathered between its lines.
pub(super) struct Journal {
    log: MetricsLog,
    pub clock: Clock,
    /// Tokens since the last line.
    tokens: usize,
}

/// The line of a step. As in every line, `step` is how many steps were taken before it, and
/// `windows` how many were taken or skipped when it was written.
#[derive(Serialize)]
struct StepLine<'a> {
    step: usize,
    windows: usize,
    loss: f32,
    learning_rate: f64,
    grad_norm: Option<f32>,
    /// The method's regulariser, which `loss` does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    penalty: Option<f32>,
    tokens: usize,
    target_tokens: usize,
    /// Since the last line, as are speed and times.
    seconds: f64,
    tokens_per_second: f64,
    time: StepTime,
    /// Of the whole run.
    skipped_steps: usize,
    /// In f16, of the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_scale: Option<f32>,
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    events: &'a [Event],
}

/// The line of a step that was not taken. What is not finite is `null`.
#[derive(Serialize)]
struct SkippedLine {
    step: usize,
    windows: usize,
    skipped: bool,
    loss: f32,
    grad_norm: f32,
    skipped_steps: usize,
    /// In f16, of the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_scale: Option<f32>,
}

#[derive(Serialize)]
struct EvaluationLine {
    step: usize,
    windows: usize,
    eval_loss: f64,
}

impl Journal {
    pub fn new(log: MetricsLog) -> Self {
        Self { log, clock: Clock::start(), tokens: 0 }
    }

    /// Waits until all lines are on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.log.sync()
    }

    /// Counts a step's tokens.
    pub fn count(&mut self, window: &Window) {
        self.tokens += window.tokens;
    }

    /// Writes the line of a step.
    pub fn step(
        &mut self,
        window: &Window,
        loss: f32,
        report: &StepReport,
        progress: Progress,
    ) -> Result<(), Error> {
        let time = self.clock.take();
        let seconds = time.total();
        let tokens = std::mem::take(&mut self.tokens);
        let scalar = |value: &Option<Tensor<1>>| value.clone().map(Error::scalar).transpose();
        self.log.write(&StepLine {
            step: report.step,
            windows: progress.windows(),
            loss,
            learning_rate: report.learning_rate,
            grad_norm: scalar(&report.grad_norm)?,
            penalty: scalar(&report.penalty)?,
            tokens: window.tokens,
            target_tokens: window.targets,
            seconds,
            tokens_per_second: tokens as f64 / seconds.max(f64::MIN_POSITIVE),
            time,
            skipped_steps: progress.skipped_steps,
            loss_scale: progress.loss_scale.map(|scale| scale.factor),
            peak_memory_bytes: peak_memory_bytes(),
            events: &report.events,
        })
    }

    /// Writes the line of a step that was not taken, which `progress` counts.
    pub fn skipped(&mut self, measured: Measured, progress: Progress) -> Result<(), Error> {
        self.log.write(&SkippedLine {
            step: progress.steps,
            windows: progress.windows(),
            skipped: true,
            loss: measured.loss,
            grad_norm: measured.grad_norm,
            skipped_steps: progress.skipped_steps,
            loss_scale: progress.loss_scale.map(|scale| scale.factor),
        })
    }

    /// Writes a validation loss.
    pub fn evaluation(&mut self, progress: Progress, eval_loss: f64) -> Result<(), Error> {
        let (step, windows) = (progress.steps, progress.windows());
        self.log.write(&EvaluationLine { step, windows, eval_loss })
    }
}
