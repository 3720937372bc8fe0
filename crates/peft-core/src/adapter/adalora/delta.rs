//! The product of three factors beside a frozen weight.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::adapter::low_rank::{dropout, value_as};

/// `ΔW = s · A · diag(E) · B`: the paper's `P Λ Q` for Burn's `[d_input, d_output]`, with PEFT's
/// names. The factors are f32 whatever the weight's dtype. An adapter without rank has no effect.
#[derive(Module, Debug)]
pub struct AdaLoraDelta {
    /// Right singular vectors, `[d_input, r]`.
    pub lora_a: Param<Tensor<2>>,
    /// Singular values, `[1, r]`; those of pruned triplets are zero.
    pub lora_e: Param<Tensor<2>>,
    /// Left singular vectors, `[r, d_output]`.
    pub lora_b: Param<Tensor<2>>,
    #[module(skip)]
    scaling: f64,
    #[module(skip)]
    dropout: f64,
}

impl AdaLoraDelta {
    pub(crate) fn new(
        [lora_a, lora_e, lora_b]: [Param<Tensor<2>>; 3],
        scaling: f64,
        dropout: f64,
    ) -> Self {
        Self { lora_a, lora_e, lora_b, scaling, dropout }
    }

    /// The effective weight, from the stored one. Without dropout, which needs the input.
    pub(crate) fn compose(&self, base: Tensor<2>) -> Tensor<2> {
        if self.has_no_rank() {
            return base;
        }
        let factors = [&self.lora_a, &self.lora_e, &self.lora_b].map(|f| value_as(f, &base));
        effective(base, factors, self.scaling)
    }

    /// `x · W'` for `x: [n, d_input]`, with the effective weight `W'` never built. Dropout acts on
    /// the adapter's input alone.
    pub(crate) fn forward(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let y = x.clone().matmul(weight); // [n, d_output]
        if self.has_no_rank() {
            return y;
        }
        let [a, e, b] = [&self.lora_a, &self.lora_e, &self.lora_b].map(|f| value_as(f, &y));
        let update = dropout(x, self.dropout).matmul(a.mul(e)).matmul(b); // [n, d_output]
        y.add(update.mul_scalar(self.scaling))
    }

    fn has_no_rank(&self) -> bool {
        self.lora_e.dims()[1] == 0
    }
}

/// `W + s · A · diag(E) · B`.
pub(super) fn effective(base: Tensor<2>, [a, e, b]: [Tensor<2>; 3], scaling: f64) -> Tensor<2> {
    base.add(a.mul(e).matmul(b).mul_scalar(scaling))
}
