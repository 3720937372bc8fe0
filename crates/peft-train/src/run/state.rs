//! What a run remembers between steps, and what happens at a step.

use std::path::PathBuf;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn::train::Interrupter;
use peft_core::gradients::{global_norm, scale};
use peft_core::{StepReport, Tuner};
use peft_llama::CausalLm;

use super::checkpoint::Progress;
use super::config::TrainConfig;
use super::evaluations::Evaluations;
use super::journal::Journal;
use super::lock::OutputLock;
use super::loss_scale::LossScale;
use super::saver::Saver;
use super::segments::Segments;
use super::validation::Validation;
use super::window::{Measured, Window};
use crate::Error;
use crate::data::{Batch, Part};

pub(super) struct State {
    pub tuner: Tuner,
    pub config: TrainConfig,
    /// Where the method's steps are taken.
    pub device: Device,
    /// Training samples.
    pub samples: usize,
    pub journal: Journal,
    pub saver: Saver,
    pub validation: Validation,
    pub evaluations: Evaluations,
    pub interrupter: Interrupter,
    pub skips: Skips,
    /// In f16.
    pub loss_scale: Option<LossScale>,
    /// Tokens of this process.
    pub tokens: usize,
    pub window: Window,
    /// Forward and backward passes under way.
    pub passes: usize,
    /// The Learner's optimizer as of the last step, to write a checkpoint with. During a step there
    /// is none: a second handle would keep the optimizer from working in place.
    pub optim: Option<ModuleOptimizer>,
    /// A text that a trained model must have an answer to, and its merged one the same.
    pub probe: Vec<u32>,
    /// What went wrong without stopping the run.
    pub notes: Vec<String>,
    pub error: Option<Error>,
    pub _lock: OutputLock,
}

/// Steps that were not taken because their loss or gradients were not finite.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Skips {
    /// Of the whole run.
    pub total: usize,
    /// Since the last step that was taken, without those that a lower loss scale may mend.
    pub in_a_row: usize,
}

impl State {
    /// How far the run is.
    pub fn progress(&self) -> Progress {
        let (steps, skipped_steps) = (self.tuner.steps(), self.skips.total);
        Progress { steps, skipped_steps, loss_scale: self.loss_scale }
    }

    /// Optimizer steps the data was consumed for, taken or skipped.
    pub fn windows(&self) -> usize {
        self.progress().windows()
    }

    /// Whether nothing is left to do: no step to take, and no validation, such as one in which the run
    /// was stopped.
    pub fn is_finished(&self) -> bool {
        (self.is_done() || self.is_out_of_patience()) && !self.owes_validation()
    }

    /// Whether every step was taken. Skipped ones do not count: what a method decides at its last
    /// step must be decided.
    pub fn is_done(&self) -> bool {
        self.tuner.steps() >= self.config.total_steps(self.samples)
    }

    pub fn segments(&self) -> Segments {
        self.config.segments(self.samples)
    }

    /// Segments that have ended. One whose validation is owed has not.
    pub fn ended_segments(&self) -> usize {
        let owed = usize::from(self.owes_validation());
        self.segments().ended(self.windows() - owed)
    }

    /// [`windows`](Self::windows) when all steps are taken, if no further one is skipped.
    pub fn last_window(&self) -> usize {
        self.config.total_steps(self.samples) + self.skips.total
    }

    /// What the Learner is to train on next: the rest of a segment, or of the run; nothing before a
    /// validation that is owed.
    pub fn train_part(&self) -> Part {
        if self.owes_validation() {
            return Part::nothing();
        }
        let windows = self.windows();
        let end = self.segments().end(windows).min(self.last_window());
        let (epoch, first) = self.config.position(windows, self.samples);
        let batches = end.saturating_sub(windows) * self.config.batches_per_step().get();
        Part { epoch, batches: first..first + batches }
    }

    /// What it is to validate on now.
    pub fn valid_part(&self) -> Part {
        match self.is_validation_due() {
            true => Part::whole(0),
            false => Part::nothing(),
        }
    }

    fn is_validation_due(&self) -> bool {
        let ends = self.config.eval_steps.is_some() && self.is_done();
        self.validation.is_wanted() && (ends || self.segments().validates_after(self.windows()))
    }

    /// Whether the validation that is due at this point has not been.
    pub fn owes_validation(&self) -> bool {
        self.is_validation_due() && self.evaluations.windows < self.windows()
    }

    /// Whether the run ends early: so many validations in a row found no lower loss.
    pub fn is_out_of_patience(&self) -> bool {
        let patience = self.config.early_stopping_patience;
        patience.is_some_and(|patience| self.evaluations.since_best >= patience.get())
    }

    /// Says so of a run that ended early.
    pub fn stopped_early(&self) -> Option<String> {
        if self.is_done() || !self.is_out_of_patience() {
            return None;
        }
        let lower = match self.evaluations.best {
            Some(best) => format!("loss below the {:.4} after step {}", best.eval_loss, best.steps),
            None => "finite loss".into(),
        };
        let (steps, total) = (self.tuner.steps(), self.config.total_steps(self.samples));
        let since = self.evaluations.since_best;
        Some(format!(
            "stopped early, after {steps} of {total} steps: {since} validations in a row found no {lower}"
        ))
    }

    /// Place of `batch` in its step, from 0.
    pub fn place(&self, batch: &Batch) -> usize {
        batch.index % self.config.batches_per_step()
    }

    /// A forward pass begins.
    pub fn begin_pass(&mut self) {
        match self.passes {
            0 => self.journal.clock.lap(|time| &mut time.data),
            _ => self.journal.clock.lap(|time| &mut time.forward), // of other devices
        }
        self.passes += 1;
    }

    /// The backward pass of `batch` on `model` is done.
    pub fn end_pass(&mut self, model: &CausalLm, batch: &Batch, grads: GradientsParams) {
        let place = self.place(batch);
        let mut grads = grads.to_device(&self.device, model);
        if let Some(factor) = self.gradient_factor() {
            scale(model, &mut grads, factor);
        }
        self.window.add(model, place, grads);
        self.passes -= 1;
        self.journal.clock.lap(|time| &mut time.backward);
    }

    /// What gradients are multiplied by before they are summed up: 1, where that only makes them f32.
    fn gradient_factor(&self) -> Option<f64> {
        let is_sum = self.config.batches_per_step().get() > 1;
        match self.loss_scale {
            Some(scale) => Some(f64::from(scale.factor.recip())),
            None => is_sum.then_some(1.0),
        }
    }

    /// Takes or skips the step the window was gathered for. The model is gone where the method
    /// failed in the middle of it: training can then only go on from a checkpoint.
    pub fn advance(
        &mut self,
        model: CausalLm,
        optim: &mut ModuleOptimizer,
    ) -> (Option<CausalLm>, Result<(), Error>) {
        self.optim = None;
        let mut window = std::mem::take(&mut self.window);
        let grads = window.take_gradients();
        let measured = match window.measure(global_norm(&model, &grads)) {
            Ok(measured) => measured,
            Err(error) => return (Some(model), Err(error)),
        };
        self.journal.clock.lap(|time| &mut time.backward);
        self.journal.count(&window);
        self.tokens += window.tokens;
        if !measured.is_finite() {
            self.optim = Some(optim.clone());
            let result = self.skip(&model, measured);
            return (Some(model), result);
        }
        let (model, report) = match self.tuner.step(model, optim, grads) {
            Ok(stepped) => stepped,
            Err(error) => return (None, Err(error.into())),
        };
        self.optim = Some(optim.clone());
        self.journal.taken(&window, measured.loss);
        let result = self.after_step(&model, &report);
        (Some(model), result)
    }

    /// Nothing changes but the place in the data: weights, moments, importance and schedules stay,
    /// and the next window takes the step.
    fn skip(&mut self, model: &CausalLm, measured: Measured) -> Result<(), Error> {
        self.skips.total += 1;
        let lower = |scale: &mut LossScale| measured.loss.is_finite() && scale.lower();
        if !self.loss_scale.as_mut().is_some_and(lower) {
            self.skips.in_a_row += 1;
        }
        self.journal.skipped(measured, self.progress())?;
        if self.skips.in_a_row < self.config.max_nonfinite_steps.get() {
            return self.save_if(self.is_judged_next(), model);
        }
        let reason =
            format!("loss or gradients were not finite {} times in a row", self.skips.in_a_row);
        match self.save(model) {
            Ok(_) | Err(Error::Diverged { .. }) => {
                Err(self.saver.diverged(self.tuner.steps(), reason))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what is due: a line, a checkpoint, and a line before every checkpoint, so that a resume
    /// writes the same lines.
    fn after_step(&mut self, model: &CausalLm, report: &StepReport) -> Result<(), Error> {
        self.skips.in_a_row = 0;
        self.loss_scale.iter_mut().for_each(LossScale::taken);
        self.journal.clock.lap_step(report.observing);
        let saves = self.is_save_due() || self.is_judged_next();
        let due = self.tuner.steps().is_multiple_of(self.config.logging_steps.get());
        if due || saves || self.is_done() || !report.events.is_empty() {
            let epoch = self.windows() as f64 / self.config.steps_per_epoch(self.samples) as f64;
            self.journal.step(report, self.progress(), epoch)?;
        }
        self.save_if(saves, model)
    }

    /// Every `save_steps`.
    fn is_save_due(&self) -> bool {
        let steps = self.tuner.steps();
        self.config.save_steps.is_some_and(|every| steps.is_multiple_of(every.get()))
    }

    /// Before a validation, if the run writes checkpoints: what it judges is then one of them.
    fn is_judged_next(&self) -> bool {
        self.config.save_steps.is_some() && self.is_validation_due()
    }

    fn save_if(&mut self, due: bool, model: &CausalLm) -> Result<(), Error> {
        match due {
            true => self.save(model).map(|_| ()),
            false => Ok(()),
        }
    }

    /// The optimizer between two steps.
    pub fn optim(&self) -> Result<ModuleOptimizer, Error> {
        let lost = || Error::Training { reason: "a step failed, and its state is lost".into() };
        self.optim.clone().ok_or_else(lost)
    }

    /// Writes a checkpoint of the state between two steps.
    pub fn save(&mut self, model: &CausalLm) -> Result<PathBuf, Error> {
        let optim = self.optim()?;
        self.journal.sync()?; // no line before a checkpoint may be lost after it
        let path = self.saver.save(self.progress(), &self.tuner, model, &optim, &self.probe);
        self.journal.clock.lap(|time| &mut time.checkpoint);
        path
    }

    /// Counts a validation batch in, with the sum `[1]` of its losses.
    pub fn evaluated(&mut self, batch: &Batch, loss_sum: Tensor<1>) -> Result<(), Error> {
        let eval_loss = self.validation.push(batch, loss_sum)?;
        self.journal.clock.lap(|time| &mut time.evaluation);
        let Some(eval_loss) = eval_loss else { return Ok(()) };
        self.journal.evaluation(self.progress(), eval_loss, &self.validation.sha256)?;
        let (steps, windows) = (self.tuner.steps(), self.windows());
        match self.evaluations.push(steps, windows, eval_loss) {
            true => self.saver.mark_best(steps),
            false => Ok(()),
        }
    }

    /// Stops the Learner; the first error is that of the run.
    pub fn fail(&mut self, error: Error) {
        self.interrupter.stop(Some(&error.to_string()));
        self.error.get_or_insert(error);
    }
}
