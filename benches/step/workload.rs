//! A model that methods are measured on.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

/// A model with a loss on a fixed batch.
pub trait Workload: Module + 'static {
    type Batch: Clone + 'static;

    /// Paths of the embedding and of the output head, which no method adapts.
    const EMBEDDING: Option<&'static str> = None;
    const OUTPUT_HEAD: Option<&'static str> = None;
    /// Modules trained whatever else is, so that every backward pass reaches the first layer's
    /// input.
    const DENSE: &'static [&'static str] = &[];

    fn loss(&self, batch: &Self::Batch) -> Tensor<1>;

    /// The model with [`DENSE`](Self::DENSE) requiring gradients.
    fn reached(self) -> Self {
        self
    }

    /// The linear layers of LoSiA's first slot.
    fn first_slot(&self) -> Vec<&Linear>;
}
