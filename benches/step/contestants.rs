//! What takes the steps.

use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor};
use burn_peft::core::subnet::settle;
use burn_peft::core::{Error, Importance, Sensitivity};

use crate::ALLOCATOR;
use crate::harness::{Contestant, Failure, Kind};
use crate::methods::RANK_FACTOR;
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
    rows: Tensor<1, Int>,
    cols: Tensor<1, Int>,
    block: Tensor<2>,
    grad: Tensor<2>,
    averages: Option<Importance>,
}

impl Observed {
    fn new(layer: &Linear) -> Self {
        let weight = layer.weight.val().without_autodiff();
        let normal = |size: [usize; 2]| {
            Tensor::random(size, Distribution::Normal(0.0, 1e-3), &weight.device())
        };
        let every = |dim: usize| {
            let stride = (1.0 / RANK_FACTOR) as usize;
            Tensor::arange_step(0..weight.dims()[dim] as i64, stride, &weight.device())
        };
        let (rows, cols): (Tensor<1, Int>, Tensor<1, Int>) = (every(0), every(1));
        let block = normal([rows.dims()[0], cols.dims()[0]]);
        Self {
            block,
            grad: normal(weight.dims()).cast(weight.dtype()),
            rows,
            cols,
            weight,
            averages: None,
        }
    }

    /// Of the effective weight, as in a slot.
    fn sample(&self) -> Tensor<2> {
        let weight = self.weight.clone().cast(FloatDType::F32);
        let (rows, cols) = (self.rows.clone(), self.cols.clone());
        Sensitivity::ParamMix.of(settle(weight, rows, cols, self.block.clone()), self.grad.clone())
    }
}

impl ImportanceUpdate {
    pub fn new(layers: &[&Linear]) -> Self {
        Self(layers.iter().map(|layer| Observed::new(layer)).collect())
    }
}

impl Contestant for ImportanceUpdate {
    fn kind(&self) -> Kind {
        Kind::Importance
    }

    fn step(&mut self, _: &Device) -> Result<bool, Failure> {
        for observed in &mut self.0 {
            let sample = observed.sample();
            observed.averages = Some(match observed.averages.take() {
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
