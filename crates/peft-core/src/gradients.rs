//! Global norm and scaling of a model's gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};

/// Euclidean norm over every gradient of `model` in `grads`, `[1]`, f32, on the device of the
/// gradients. `None` if there is none.
pub fn global_norm<M: Module>(model: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
    let mut norm = SquaredNorm { grads, sum: None };
    model.visit(&mut norm);
    norm.sum.map(Tensor::sqrt)
}

/// Multiplies every gradient of `model` in `grads` by `factor`, `[1]`.
pub fn scale<M: Module>(model: &M, grads: &mut GradientsParams, factor: Tensor<1>) {
    model.visit(&mut Scale { grads, factor });
}

/// Factor that brings a global norm down to `max_norm`, never up: `min(1, max / (norm + 1e-6))`,
/// as PyTorch's `clip_grad_norm_`.
pub fn clip_factor(norm: Tensor<1>, max_norm: f64) -> Tensor<1> {
    norm.add_scalar(1e-6).recip().mul_scalar(max_norm).clamp_max(1.0)
}

struct SquaredNorm<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else { return };
        let grad = grad.cast(FloatDType::F32);
        let square = grad.clone().mul(grad).sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + square,
            None => square,
        });
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return };
        let factor = self.factor.clone().cast(FloatDType::from(grad.dtype()));
        self.grads.register(param.id, grad.mul(factor.unsqueeze()));
    }
}
