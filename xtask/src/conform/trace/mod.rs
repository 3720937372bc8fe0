//! Recorded training runs, repeated step by step.

pub mod adalora;
mod adalora_config;
pub mod losia;
mod losia_config;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients, Tensor};
use peft_core::{Method, StepReport, Tuner};
use peft_llama::{CausalLm, cross_entropy_sum};

use super::tensors::Tensors;
use super::{Case, CaseError};

/// A run that is being repeated.
struct Replay<'a, T> {
    case: &'a Case,
    /// What the run started from: batches, and the method's own.
    init: Tensors,
    /// What was recorded on the way.
    snapshots: Tensors,
    /// Number of batches, used in turn.
    batches: usize,
    device: Device,
    tuner: Tuner<T>,
    optim: ModuleOptimizer,
    model: CausalLm,
}

impl<'a, T: Method> Replay<'a, T> {
    fn new(
        case: &'a Case,
        device: &Device,
        batches: usize,
        (tuner, model): (Tuner<T>, CausalLm),
        optim: ModuleOptimizer,
    ) -> Result<Self, CaseError> {
        let (init, snapshots) = (case.tensors("init")?, case.tensors_if_any("snapshots")?);
        let device = device.clone().autodiff();
        Ok(Self { case, init, snapshots, batches, device, tuner, optim, model })
    }

    /// Mean loss on the batch of step number `index`.
    fn loss(&self, index: usize) -> Result<Tensor<1>, CaseError> {
        let batch = index % self.batches;
        let ids = self.init.ids(&format!("data.{batch}.input_ids"), &self.device)?;
        let labels = self.init.ids(&format!("data.{batch}.labels"), &self.device)?;
        let (sum, count) = cross_entropy_sum(self.model.forward(ids, None), labels);
        Ok(sum / count.float())
    }

    /// Value and gradients of that loss.
    fn backward(&self, index: usize) -> Result<(f64, Gradients), CaseError> {
        let loss = self.loss(index)?;
        let value = f64::from(loss.clone().into_scalar::<f32>());
        Ok((value, loss.backward()))
    }

    fn step(&mut self, grads: Gradients) -> Result<StepReport, CaseError> {
        let grads = GradientsParams::from_grads(grads, &self.model);
        let (model, report) = self.tuner.step(self.model.clone(), &mut self.optim, grads)?;
        self.model = model;
        Ok(report)
    }

    /// Whether a recorded choice was too close to call, so that another one is no error.
    fn is_close(&self, gap: f64) -> Result<bool, CaseError> {
        Ok(gap <= self.case.tolerance("min_gap")?)
    }
}
