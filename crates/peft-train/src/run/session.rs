//! The one state of a run behind the Learner's many models.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use peft_llama::CausalLm;

use super::state::State;
use crate::Error;
use crate::data::Batch;

/// Shared by the model's clones: the Learner clones and forks the model, but a run is one.
#[derive(Clone)]
pub(super) struct Session {
    state: Arc<Mutex<State>>,
    /// Held while a forward pass draws from the generator.
    generator: Arc<Mutex<()>>,
}

impl Session {
    pub fn new(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), generator: Arc::default() }
    }

    /// A poisoned lock means that a step panicked; the state before it is still the truth.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A forward pass begins. Seeds the device's generator, so that what the pass draws (dropout)
    /// is a function of the run's seed and the batch's place in it. Backends have one generator for
    /// all their devices: forward passes take turns, and this one's lasts as long as the guard.
    pub fn before_forward(&self, batch: &Batch) -> MutexGuard<'_, ()> {
        let turn = self.generator.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        state.begin_pass();
        let place = (state.windows() as u64) << 16 | state.place(batch) as u64;
        let seed = state.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place;
        batch.input_ids.device().seed(seed);
        turn
    }

    /// Counts a batch into the present optimizer step, with the sum `[1]` of its losses.
    pub fn count(&self, batch: &Batch, loss_sum: Tensor<1>) {
        let mut state = self.lock();
        let loss_sum = loss_sum.to_device(&state.device);
        state.window.push(batch, loss_sum);
        state.journal.clock.lap(|time| &mut time.forward);
    }

    /// A loss as it goes into the backward pass.
    pub fn scaled(&self, loss: Tensor<1>) -> Tensor<1> {
        match self.lock().loss_scale {
            Some(scale) => loss.mul_scalar(scale.factor),
            None => loss,
        }
    }

    /// Adds the gradients of `batch` on `model`, whose backward pass is done, to the step.
    pub fn after_backward(&self, model: &CausalLm, batch: &Batch, grads: GradientsParams) {
        self.lock().end_pass(model, batch, grads);
    }

    /// Takes the step of the batches counted, or skips it; see [`State::advance`].
    pub fn advance(&self, model: CausalLm, optim: &mut ModuleOptimizer) -> Option<CausalLm> {
        let mut state = self.lock();
        let (model, result) = state.advance(model, optim);
        if let Err(error) = result {
            state.fail(error);
        }
        model
    }

    /// Counts a validation batch in, with the sum `[1]` of its losses.
    pub fn evaluated(&self, batch: &Batch, loss_sum: Tensor<1>) {
        let mut state = self.lock();
        if let Err(error) = state.evaluated(batch, loss_sum) {
            state.fail(error);
        }
    }

    pub fn refuse_sharded_optimizer(&self) {
        self.lock().fail(Error::ShardedOptimizer);
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
