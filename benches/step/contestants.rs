//! What takes the steps.

use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use burn_peft::core::{Error, Importance, Sensitivity};

use crate::ALLOCATOR;
use crate::harness::{Contestant, Failure, Kind};
use crate::workload::Workload;

const SMOOTHING: f64 = 0.85;

/// Bytes alive on the device, or on the host where the device counts none.
fn bytes_in_use(device: &Device) -> usize {
    match device.memory_pool_usage() {
        Some(usage) => usage.bytes_in_use as usize,
        None => ALLOCATOR.current_usage(),
    }
}

/// Bytes a forward pass leaves alive for its backward pass.
fn activations<M: Workload>(model: &M, batch: &M::Batch, device: &Device) -> usize {
    let before = bytes_in_use(device);
    let _loss = model.loss(batch);
    bytes_in_use(device).saturating_sub(before)
}

/// A model that trains nothing: a forward pass, and a backward pass to its input.
pub struct Floor<M: Workload> {
    pub model: M,
    pub batch: M::Batch,
}

impl<M: Workload> Contestant for Floor<M> {
    fn kind(&self) -> Kind {
        Kind::Floor
    }

    fn step(&mut self, device: &Device) -> Result<bool, Failure> {
        let grads = self.model.loss(&self.batch).backward();
        device.sync()?; // before they are dropped: what nobody waits for might not be computed
        drop(grads);
        Ok(false)
    }

    fn activations(&self, device: &Device) -> Option<usize> {
        Some(activations(&self.model, &self.batch, device))
    }
}

/// A model in training.
pub struct Training<M: Workload, U> {
    pub kind: Kind,
    /// None after a step that failed.
    pub model: Option<M>,
    pub batch: M::Batch,
    /// From gradients to the next model, and whether subnets moved.
    pub update: U,
}

impl<M: Workload, U> Contestant for Training<M, U>
where
    U: FnMut(M, GradientsParams) -> Result<(M, bool), Error>,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn step(&mut self, _: &Device) -> Result<bool, Failure> {
        let Some(model) = self.model.take() else { return Ok(false) };
        let grads = GradientsParams::from_grads(model.loss(&self.batch).backward(), &model);
        let (model, moved) = (self.update)(model, grads)?;
        self.model = Some(model);
        Ok(moved)
    }

    fn activations(&self, device: &Device) -> Option<usize> {
        self.model.as_ref().map(|model| activations(model, &self.batch, device))
    }
}

/// The importance update of the weights that share a slot.
pub struct ImportanceUpdate(Vec<Observed>);

struct Observed {
    weight: Tensor<2>,
    grad: Tensor<2>,
    averages: Option<Importance>,
}

impl ImportanceUpdate {
    pub fn new(layers: &[&Linear]) -> Self {
        let observed = |layer: &&Linear| {
            let weight = layer.weight.val().without_autodiff();
            let normal = Distribution::Normal(0.0, 1e-3);
            Observed { grad: weight.random_like(normal), weight, averages: None }
        };
        Self(layers.iter().map(observed).collect())
    }
}

impl Contestant for ImportanceUpdate {
    fn kind(&self) -> Kind {
        Kind::Importance
    }

    fn step(&mut self, _: &Device) -> Result<bool, Failure> {
        for Observed { weight, grad, averages } in &mut self.0 {
            let sample = Sensitivity::ParamMix.of(weight.clone(), grad.clone());
            *averages = Some(match averages.take() {
                Some(old) => old.update(sample, SMOOTHING, SMOOTHING),
                None => Importance::first(sample, SMOOTHING, SMOOTHING),
            });
        }
        Ok(false)
    }

    fn activations(&self, _: &Device) -> Option<usize> {
        None
    }
}
