//! The one state of a run behind the Learner's many models.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use peft_llama::CausalLm;

use super::state::State;
use crate::Error;
use crate::data::Batch;

/// Shared by the model's clones: the Learner clones and forks the model, but a run is one.
#[derive(Clone)]
pub(super) struct Session(Arc<Mutex<State>>);

impl Session {
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// A poisoned lock means that a step panicked; the state before it is still the truth.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A forward pass begins. Seeds the device's generator, so that what the pass draws (dropout)
    /// is a function of the run's seed and the batch's place in it.
    pub fn before_forward(&self, device: &Device) {
        let mut state = self.lock();
        state.journal.clock.lap(|time| &mut time.data);
        let place = (state.windows() as u64) << 16 | state.window.batches() as u64;
        device.seed(state.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place);
    }

    /// Counts a batch into the present optimizer step, with the sum `[1]` of its losses. Returns
    /// what that is divided by before the backward pass.
    pub fn count(&self, batch: &Batch, loss_sum: Tensor<1>) -> f64 {
        self.lock().window.push(batch, loss_sum)
    }

    /// A backward pass is done.
    pub fn after_backward(&self) {
        self.lock().journal.clock.lap(|time| &mut time.forward_backward);
    }

    /// Takes the step of the batches counted, or skips it; see [`State::advance`].
    pub fn advance(
        &self,
        model: CausalLm,
        optim: &mut ModuleOptimizer,
        grads: GradientsParams,
    ) -> Option<CausalLm> {
        let mut state = self.lock();
        let (model, result) = state.advance(model, optim, grads);
        match result {
            Ok(()) => state.stop_if_done(),
            Err(error) => state.fail(error),
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

    pub fn refuse_multiple_devices(&self) {
        self.lock().fail(Error::MultipleDevices);
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
