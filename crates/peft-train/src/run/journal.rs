//! What a run writes into `metrics.jsonl`.

use burn::tensor::{Device, Tensor};
use peft_core::{Event, StepReport};
use serde::Serialize;

use super::checkpoint::Progress;
use super::clock::{Clock, StepTime};
use super::window::{Measured, Window};
use crate::Error;
use crate::report::{MetricsLog, device_memory_bytes, peak_memory_bytes};

/// The log, and what is gathered between its lines.
pub(super) struct Journal {
    log: MetricsLog,
    /// Where the method's steps are taken.
    device: Device,
    pub clock: Clock,
    since: Since,
}

/// What was seen since the last line.
#[derive(Default)]
struct Since {
    /// Summed over the target tokens of the steps that were taken.
    loss: f64,
    target_tokens: usize,
    /// Skipped steps' too.
    tokens: usize,
}

/// The line of a step. As in every line, `step` is how many steps were taken when it was written, and
/// `windows` how many were taken or skipped.
#[derive(Serialize)]
struct StepLine<'a> {
    step: usize,
    windows: usize,
    /// Passes over the data.
    epoch: f64,
    /// Mean per target token since the last line, as are the sums, speed and times below.
    loss: f64,
    learning_rate: f64,
    grad_norm: Option<f32>,
    /// The method's regulariser, which `loss` does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    penalty: Option<f32>,
    tokens: usize,
    target_tokens: usize,
    seconds: f64,
    tokens_per_second: f64,
    time: StepTime,
    /// Of the whole run.
    skipped_steps: usize,
    /// In f16, of the next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_scale: Option<f32>,
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_memory_bytes: Option<u64>,
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
struct EvaluationLine<'a> {
    step: usize,
    windows: usize,
    eval_loss: f64,
    /// What was validated on.
    valid_sha256: &'a str,
}

impl Journal {
    /// Of a run on `devices`, the first of which takes the method's steps.
    pub fn new(log: MetricsLog, devices: &[Device]) -> Self {
        let device = devices[0].clone().inner();
        Self { log, device, clock: Clock::start(devices), since: Since::default() }
    }

    /// Waits until all lines are on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.log.sync()
    }

    /// Counts the tokens of a step, taken or not.
    pub fn count(&mut self, window: &Window) {
        self.since.tokens += window.tokens;
    }

    /// Counts a step that was taken, with the mean loss of its target tokens.
    pub fn taken(&mut self, window: &Window, loss: f32) {
        self.since.loss += f64::from(loss) * window.targets as f64;
        self.since.target_tokens += window.targets;
    }

    /// Writes the line of the step that was taken last, after so many epochs.
    pub fn step(
        &mut self,
        report: &StepReport,
        progress: Progress,
        epoch: f64,
    ) -> Result<(), Error> {
        let time = self.clock.take();
        let seconds = time.total();
        let Since { loss, target_tokens, tokens } = std::mem::take(&mut self.since);
        let scalar = |value: &Option<Tensor<1>>| value.clone().map(Error::scalar).transpose();
        self.log.write(&StepLine {
            step: progress.steps,
            windows: progress.windows(),
            epoch,
            loss: loss / target_tokens.max(1) as f64,
            learning_rate: report.learning_rate,
            grad_norm: scalar(&report.grad_norm)?,
            penalty: scalar(&report.penalty)?,
            tokens,
            target_tokens,
            seconds,
            tokens_per_second: tokens as f64 / seconds.max(f64::MIN_POSITIVE),
            time,
            skipped_steps: progress.skipped_steps,
            loss_scale: progress.loss_scale.map(|scale| scale.factor),
            peak_memory_bytes: peak_memory_bytes(),
            device_memory_bytes: device_memory_bytes(&self.device),
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

    /// Writes a validation loss on the samples with that hash.
    pub fn evaluation(
        &mut self,
        progress: Progress,
        eval_loss: f64,
        valid_sha256: &str,
    ) -> Result<(), Error> {
        let (step, windows) = (progress.steps, progress.windows());
        self.log.write(&EvaluationLine { step, windows, eval_loss, valid_sha256 })
    }
}
