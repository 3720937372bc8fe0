//! What happens between a run's preparation and its end: the Learner, once or more often.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{
    ExecutionStrategy, Learner, LearningResult, MultiDeviceOptim, SupervisedTraining,
};
use peft_llama::CausalLm;

use super::model::FineTune;
use super::no_log::NoLog;
use super::patience::Patience;
use super::session::{MethodRate, Session};
use crate::Error;
use crate::data::BatchLoader;
use crate::panics::caught;

/// What the Learner needs beside the model.
pub(super) struct Training {
    pub session: Session,
    pub train: Arc<BatchLoader>,
    pub valid: Arc<BatchLoader>,
    pub devices: Vec<Device>,
}

impl Training {
    /// The trained model, adapters attached, without autodiff. Where skipped steps leave some to be
    /// taken, the Learner is started again, as by a resume. It ends: of steps in a row, only so many
    /// are skipped.
    pub fn run(
        &self,
        mut model: CausalLm,
        mut renderer: Option<Box<dyn MetricsRenderer>>,
    ) -> Result<CausalLm, Error> {
        while self.goes_on() {
            let end = self.session.lock().last_window();
            let is_given = renderer.is_some();
            let result = self.learn(model, renderer)?;
            model = result.model.model.train();
            renderer = is_given.then_some(result.renderer);
            if self.stopped_before(end) {
                break;
            }
        }
        Ok(model.valid())
    }

    /// Whether something is left to do, and nobody has stopped the run.
    fn goes_on(&self) -> bool {
        let state = self.session.lock();
        !state.is_finished() && !state.interrupter.should_stop()
    }

    /// Whether the Learner, which was to go on for `end` windows, was stopped: Burn's dashboard makes
    /// the interrupter forget it.
    fn stopped_before(&self, end: usize) -> bool {
        let state = self.session.lock();
        state.windows() < end || state.owes_validation()
    }

    /// Trains from where the run stands to its last step, unless further ones are skipped.
    fn learn(
        &self,
        model: CausalLm,
        renderer: Option<Box<dyn MetricsRenderer>>,
    ) -> Result<LearningResult<FineTune>, Error> {
        let optim = self.session.lock().optim()?;
        let model = FineTune::new(model, self.session.clone());
        let learner = Learner::new(model, optim, MethodRate(self.session.clone()));
        let mut training = self.at_position();
        if let Some(renderer) = renderer {
            training = training.renderer(renderer);
        }
        let result = caught(|| training.launch(learner));
        let result = result.map_err(|reason| Error::Training { reason });
        if let Some(error) = self.session.lock().error.take() {
            return Err(error); // what the Learner says is a consequence
        }
        let result = result?;
        match result.error {
            Some(error) => Err(Error::Training { reason: error.to_string() }),
            None => Ok(result),
        }
    }

    /// The Learner's settings where the run stands. Its epochs are the run's segments.
    fn at_position(&self) -> SupervisedTraining<FineTune> {
        let state = self.session.lock();
        let segments = state.segments();
        let (train, valid) = (self.train.clone(), self.valid.clone());
        let training = SupervisedTraining::new("", train, valid) // nothing is written
            .with_training_strategy(strategy(self.devices.clone()).into())
            .with_interrupter(state.interrupter.clone())
            .with_application_logger(None)
            .with_metric_logger(NoLog)
            .metrics((LossMetric::new(),))
            .metric_train_numeric(LearningRateMetric::new())
            .grads_accumulation(state.config.gradient_accumulation_steps.get())
            .num_epochs(segments.ended(state.last_window().saturating_sub(1)) + 1);
        let training = match state.config.early_stopping_patience {
            Some(_) => training.early_stopping(Patience(self.session.clone())),
            None => training,
        };
        match state.ended_segments() {
            0 => training,
            done => training.checkpoint(done),
        }
    }
}

/// A step's batches on all devices, its optimizer step on the first.
fn strategy(mut devices: Vec<Device>) -> ExecutionStrategy {
    match devices.len() {
        1 => ExecutionStrategy::SingleDevice(devices.remove(0)),
        _ => ExecutionStrategy::MultiDevice(devices, MultiDeviceOptim::OptimMainDevice),
    }
}
