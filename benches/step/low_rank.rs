//! The arithmetic of LoRA on activations.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear};
use burn::tensor::{Device, Tensor};

const RANK: usize = 16;

/// `ΔW = A·B` of one weight, `B` zero at first.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[d_input, RANK]`
    a: Param<Tensor<2>>,
    /// `[RANK, d_output]`
    b: Param<Tensor<2>>,
}

impl LowRank {
    pub fn new(layer: &Linear, device: &Device) -> Self {
        let [d_input, d_output] = layer.weight.dims();
        let normal = Initializer::Normal { mean: 0.0, std: (d_input as f64).powf(-0.5) };
        Self {
            a: normal.init([d_input, RANK], device),
            b: Initializer::Zeros.init([RANK, d_output], device),
        }
    }

    /// `x·W + (x·A)·B`, `[n, d_input]` to `[n, d_output]`.
    pub fn forward(&self, layer: &Linear, x: Tensor<2>) -> Tensor<2> {
        let update = x.clone().matmul(self.a.val()).matmul(self.b.val());
        x.matmul(layer.weight.val()) + update
    }
}
