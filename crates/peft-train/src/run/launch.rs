//! A run that is ready, and its training on the Learner.

use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{ExecutionStrategy, Interrupter, Learner, LearningResult, SupervisedTraining};
use peft_core::ParamCounts;
use peft_llama::CausalLm;

use super::finish::{Finished, finish};
use super::model::FineTune;
use super::no_log::NoLog;
use super::outcome::Outcome;
use super::panics::caught;
use super::plan::RunPlan;
use super::prepare::prepare;
use super::session::{MethodRate, Session};
use crate::Error;
use crate::data::BatchLoader;

/// A model with a method attached, ready to be trained.
pub struct Run {
    pub(super) model: CausalLm,
    pub(super) session: Session,
    pub(super) optim: ModuleOptimizer,
    pub(super) train: BatchLoader,
    pub(super) valid: BatchLoader,
    pub(super) device: Device,
    pub(super) epochs_done: u64,
}

impl Run {
    /// Attaches the plan's method to `model`, which holds the original weights even where the run
    /// goes on from a checkpoint. Takes the output folder for itself until the run is dropped, and
    /// removes what a killed process left there.
    ///
    /// # Errors
    /// [`Error::Method`] for what the method refuses; [`Error::Checkpoint`] for a checkpoint that
    /// is damaged or belongs to another run; [`Error::OutputDirInUse`] if a run is to begin
    /// where there are checkpoints of another, [`Error::OutputDirLocked`] if another is at work there;
    /// [`Error::TotalSteps`], [`Error::Io`].
    pub fn new(model: CausalLm, plan: RunPlan<'_>) -> Result<Self, Error> {
        prepare(model, plan)
    }

    /// Sizes of the model.
    pub fn counts(&self) -> ParamCounts {
        self.session.lock().tuner.counts()
    }

    /// Paths of the adapted weights, in the order of the model.
    pub fn adapted(&self) -> Vec<String> {
        self.session.lock().tuner.adapted().to_vec()
    }

    /// A handle that stops the run after the present step, or in the middle of accumulating one.
    /// A checkpoint of the last finished step is written, and [`launch`](Self::launch) returns.
    pub fn interrupter(&self) -> Interrupter {
        self.session.lock().interrupter.clone()
    }

    /// Trains to the end, and keeps `run.json` in the output folder up to date: `running` first,
    /// then how it ended. Progress goes to `renderer`; `None` is burn-train's own choice: its
    /// terminal dashboard where standard output is a terminal.
    ///
    /// A step whose loss or gradients are not finite is skipped: weights, moments, importance and
    /// schedules stay as they were, and the next batches take that step. Its batches count as
    /// consumed, so a run with skipped steps takes fewer steps in all. PyTorch's automatic mixed
    /// precision lets schedules go on instead; here decisions belong to certain steps (a subnet
    /// moves, ranks are cut), and none may be missed.
    ///
    /// # Errors
    /// The first error of a step, a log or a checkpoint; [`Error::Diverged`] after too many skipped
    /// steps; [`Error::Unmerged`]; [`Error::Training`] for the Learner's errors and panics.
    pub fn launch(self, renderer: Option<Box<dyn MetricsRenderer>>) -> Result<Finished, Error> {
        let start = Instant::now();
        let session = self.session.clone();
        let outcome = Outcome::of(&self, start);
        outcome.running()?;
        let result = self.train(renderer).and_then(|model| finish(model, &session, start));
        match &result {
            Ok(finished) => outcome.finished(finished, &session.lock())?,
            // The run's error is the one to return, also where the folder cannot be written.
            Err(error) => _ = outcome.failed(error, &session.lock()),
        }
        result
    }

    /// The trained model, adapters attached, without autodiff.
    fn train(self, renderer: Option<Box<dyn MetricsRenderer>>) -> Result<CausalLm, Error> {
        let Self { model, session, optim, train, valid, device, epochs_done } = self;
        let (config, samples, interrupter, done) = {
            let state = session.lock();
            (state.config.clone(), state.samples, state.interrupter.clone(), state.is_done())
        };
        if done {
            return Ok(model.valid());
        }
        let fine_tune = FineTune::new(model, session.clone());
        let learner = Learner::new(fine_tune, optim, MethodRate(session.clone()));
        let steps_per_epoch = config.steps_per_epoch(samples).max(1);
        let mut training =
            SupervisedTraining::new("", Arc::new(train), Arc::new(valid)) // nothing is written
                .with_training_strategy(ExecutionStrategy::SingleDevice(device).into())
                .with_interrupter(interrupter)
                .with_application_logger(None)
                .with_metric_logger(NoLog)
                .metrics((LossMetric::new(),))
                .metric_train_numeric(LearningRateMetric::new())
                .grads_accumulation(config.gradient_accumulation_steps.get())
                .num_epochs(config.total_steps(samples).div_ceil(steps_per_epoch));
        if epochs_done > 0 {
            training = training.checkpoint(epochs_done as usize);
        }
        if let Some(renderer) = renderer {
            training = training.renderer(renderer);
        }
        let result = caught(|| training.launch(learner));
        let result = result.map_err(|reason| Error::Training { reason });
        if let Some(error) = session.lock().error.take() {
            return Err(error); // what the Learner says is a consequence
        }
        let LearningResult { model, error, .. } = result?;
        match error {
            Some(error) => Err(Error::Training { reason: error.to_string() }),
            None => Ok(model.model),
        }
    }
}
