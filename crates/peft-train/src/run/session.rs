//! What a run remembers between the Learner's calls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn::train::Interrupter;
use peft_core::{Event, StepReport, Tuner};
use peft_llama::CausalLm;
use serde::Serialize;

use super::checkpoint::{self, CheckpointManifest};
use super::config::TrainConfig;
use crate::Error;
use crate::data::Batch;
use crate::report::MetricsLog;

/// Shared by the model's clones: the Learner clones and forks the model, but a run is one.
#[derive(Clone)]
pub(super) struct Session(Arc<Mutex<State>>);

pub(super) struct State {
    pub tuner: Tuner,
    pub config: TrainConfig,
    pub total_steps: usize,
    pub log: MetricsLog,
    pub output_dir: PathBuf,
    pub manifest: CheckpointManifest,
    pub interrupter: Interrupter,
    pub tokens: usize,
    pub window: Window,
    /// Tokens by which a merged model is compared with the trained one.
    pub probe: Vec<u32>,
    pub since_log: Instant,
    pub error: Option<Error>,
}

/// The batches of one optimizer step.
#[derive(Default)]
pub(super) struct Window {
    reference: f64,
    targets: usize,
    tokens: usize,
    losses: Vec<Tensor<1>>,
}

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    step: usize,
    loss: f32,
    learning_rate: f64,
    grad_norm: Option<f32>,
    /// The method's regulariser, which `loss` does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    penalty: Option<f32>,
    tokens: usize,
    target_tokens: usize,
    seconds: f64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    events: &'a [Event],
}

impl Session {
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// A poisoned lock means that a step panicked; the state before it is still the truth.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seeds the device's generator for the next batch, so that what a forward pass draws (dropout)
    /// is a function of the run's seed and the batch's place in it.
    pub fn seed_device(&self, device: &Device) {
        let state = self.lock();
        let place = (state.tuner.steps() as u64) << 16 | state.window.losses.len() as u64;
        device.seed(state.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place);
    }

    /// Counts a batch into the present optimizer step. Returns what its summed loss is divided by
    /// before the backward pass: the targets of the step's first batch. The remaining factor is
    /// applied to the accumulated gradients, which makes them exactly those of the mean over all
    /// target tokens.
    pub fn begin(&self, batch: &Batch, loss_sum: Tensor<1>) -> f64 {
        let window = &mut self.lock().window;
        if window.losses.is_empty() {
            window.reference = batch.target_tokens.max(1) as f64;
        }
        window.targets += batch.target_tokens;
        window.tokens += batch.tokens;
        window.losses.push(loss_sum);
        window.reference
    }

    pub fn optimize(
        &self,
        model: CausalLm,
        optim: &mut ModuleOptimizer,
        grads: GradientsParams,
    ) -> CausalLm {
        let mut state = self.lock();
        let window = std::mem::take(&mut state.window);
        let scale = window.reference / window.targets.max(1) as f64;
        let before = model.clone();
        let stepped = state.tuner.step(model, optim, grads, scale).map_err(Error::from);
        let (model, result) = match stepped {
            Ok((model, report)) => {
                let result = state.after_step(&model, optim, window, report);
                (model, result)
            }
            Err(error) => (before, Err(error)),
        };
        match result {
            Ok(()) if state.tuner.steps() >= state.total_steps => {
                state.interrupter.stop(Some("all steps taken"));
            }
            Ok(()) => {}
            Err(error) => state.fail(error),
        }
        model
    }

    pub fn refuse_multiple_devices(&self) {
        self.lock().fail(Error::MultipleDevices);
    }
}

impl State {
    fn fail(&mut self, error: Error) {
        self.interrupter.stop(Some(&error.to_string()));
        self.error.get_or_insert(error);
    }

    fn after_step(
        &mut self,
        model: &CausalLm,
        optim: &ModuleOptimizer,
        window: Window,
        report: StepReport,
    ) -> Result<(), Error> {
        let steps = report.step + 1;
        self.tokens += window.tokens;
        let last = steps >= self.total_steps;
        let logged = steps.is_multiple_of(self.config.logging_steps.get());
        if logged || last || !report.events.is_empty() {
            self.log_step(window, &report)?;
        }
        match self.config.save_steps {
            Some(every) if steps.is_multiple_of(every.get()) => self.save(model, optim),
            _ => Ok(()),
        }
    }

    fn log_step(&mut self, window: Window, report: &StepReport) -> Result<(), Error> {
        let losses = window.losses.into_iter().map(Error::scalar);
        let sum: f32 = losses.sum::<Result<f32, Error>>()?;
        let line = Line {
            step: report.step,
            loss: sum / window.targets.max(1) as f32,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm.clone().map(Error::scalar).transpose()?,
            penalty: report.penalty.clone().map(Error::scalar).transpose()?,
            tokens: window.tokens,
            target_tokens: window.targets,
            seconds: self.since_log.elapsed().as_secs_f64(),
            events: &report.events,
        };
        self.since_log = Instant::now();
        self.log.write(&line)
    }

    fn save(&self, model: &CausalLm, optim: &ModuleOptimizer) -> Result<(), Error> {
        let record = self.tuner.record(model)?;
        checkpoint::write(&self.output_dir, &self.manifest, self.tuner.steps(), &record, optim)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// Shows the Learner the method's learning rate, which is a function of the step alone.
#[derive(Clone)]
pub(super) struct MethodRate(pub Session);

impl LrScheduler for MethodRate {
    fn step(&mut self) -> f64 {
        self.0.lock().tuner.learning_rate()
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _record: LrSchedulerRecord) {}
}
