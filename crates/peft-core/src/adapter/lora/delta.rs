//! The low-rank product beside a frozen weight.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

use crate::adapter::low_rank::{dropout, value_as};

/// `ΔW = s · A · B`, and with DoRA a magnitude for each column of `W + ΔW`. The factors are f32
/// whatever the weight's dtype. An adapter without rank has no effect.
#[derive(Module, Debug)]
pub struct LoraDelta {
    /// Down-projection, `[d_input, r]`.
    pub lora_a: Param<Tensor<2>>,
    /// Up-projection, `[r, d_output]`.
    pub lora_b: Param<Tensor<2>>,
    /// Norms of the columns of the effective weight, `[1, d_output]` (DoRA).
    pub magnitude: Option<Param<Tensor<2>>>,
    #[module(skip)]
    scaling: f64,
    #[module(skip)]
    dropout: f64,
}

impl LoraDelta {
    pub(crate) fn new(
        lora_a: Param<Tensor<2>>,
        lora_b: Param<Tensor<2>>,
        magnitude: Option<Param<Tensor<2>>>,
        scaling: f64,
        dropout: f64,
    ) -> Self {
        Self { lora_a, lora_b, magnitude, scaling, dropout }
    }

    /// The effective weight, from the stored one. Without dropout, which needs the input.
    pub(crate) fn compose(&self, base: Tensor<2>) -> Tensor<2> {
        if self.has_no_rank() {
            return base;
        }
        let factors = [value_as(&self.lora_a, &base), value_as(&self.lora_b, &base)];
        let magnitude = self.magnitude.as_ref().map(Param::val);
        effective(base, factors, magnitude, self.scaling)
    }

    /// `x · W'` for `x: [n, d_input]`, with the effective weight `W'` never built. Dropout acts on
    /// the adapter's input alone.
    pub(crate) fn forward(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let y = x.clone().matmul(weight.clone()); // [n, d_output]
        if self.has_no_rank() {
            return y;
        }
        let dropped = dropout(x, self.dropout);
        let [a, b] = [value_as(&self.lora_a, &y), value_as(&self.lora_b, &y)];
        let update = dropped.clone().matmul(a).matmul(b).mul_scalar(self.scaling); // [n, d_output]
        let Some(magnitude) = &self.magnitude else { return y.add(update) };
        let ratio = magnitude.val().div(self.norm(weight.clone())); // [1, d_output], f32
        let ratio = ratio.cast(FloatDType::from(y.dtype()));
        match self.dropout > 0.0 && y.device().is_autodiff() {
            false => y.add(update).mul(ratio),
            true => {
                let base = dropped.matmul(weight);
                y.add(base.mul(ratio.clone().sub_scalar(1.0))).add(update.mul(ratio))
            }
        }
    }

    /// Column norms of `W + ΔW` without a gradient (the DoRA paper's cost reduction, and PEFT's
    /// only mode), `[1, d_output]`.
    fn norm(&self, weight: Tensor<2>) -> Tensor<2> {
        let [a, b] = [&self.lora_a, &self.lora_b].map(|factor| factor.val().detach());
        let weight = weight.detach().cast(FloatDType::F32);
        // ‖w + s·A·b‖² = ‖w‖² + 2s·(Aᵀw)·b + s²·(AᵀA·b)·b, column by column: no dense product.
        let (s, a_t) = (self.scaling, a.clone().transpose()); // f32
        let cross = a_t.clone().matmul(weight.clone()).mul(b.clone()).sum_dim(0);
        let own = a_t.matmul(a).matmul(b.clone()).mul(b).sum_dim(0);
        let base = weight.clone().mul(weight).sum_dim(0);
        let squared = base.add(cross.mul_scalar(2.0 * s)).add(own.mul_scalar(s * s));
        squared.clamp_min(f32::MIN_POSITIVE).sqrt()
    }

    fn has_no_rank(&self) -> bool {
        self.lora_a.dims()[1] == 0
    }
}

/// `W + s·A·B`, its columns rescaled to `magnitude`, f32. Norms carry no gradient.
pub(super) fn effective(
    base: Tensor<2>,
    [a, b]: [Tensor<2>; 2],
    magnitude: Option<Tensor<2>>,
    scaling: f64,
) -> Tensor<2> {
    let weight = base.add(a.matmul(b).mul_scalar(scaling));
    match magnitude {
        None => weight,
        Some(magnitude) => {
            let dtype = FloatDType::from(weight.dtype());
            let norms = column_norms(weight.clone().detach()).clamp_min(f32::MIN_POSITIVE);
            weight.mul(magnitude.div(norms).cast(dtype))
        }
    }
}

/// Euclidean norms of the columns, `[1, columns]`, f32.
pub(super) fn column_norms(weight: Tensor<2>) -> Tensor<2> {
    let weight = weight.cast(FloatDType::F32);
    weight.clone().mul(weight).sum_dim(0).sqrt()
}
