//! Global norm and scaling of a model's gradients, without waiting for the device.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, FloatDType, Tensor};

/// Euclidean norm over every gradient of `model` in `grads`, `[1]`, f32, on the device of the
/// gradients. `None` if there is none.
pub fn global_norm<M: Module>(model: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
    let mut norm = SquaredNorm { grads, sum: None };
    model.visit(&mut norm);
    norm.sum.map(Tensor::sqrt)
}

/// Multiplies every gradient of `model` in `grads` by `factor`, and makes it f32: half precision would
/// round products, and the sums of several.
pub fn scale<M: Module>(model: &M, grads: &mut GradientsParams, factor: f64) {
    model.visit(&mut Scale { grads, factor: Factor::Known(factor) });
}

/// Scales every gradient of `model` in `grads` down, never up, so that their global norm `norm`,
/// `[1]`, becomes at most `max_norm`: by `min(1, max_norm / (norm + 1e-6))`, as PyTorch's
/// `clip_grad_norm_`.
pub fn clip<M: Module>(model: &M, grads: &mut GradientsParams, norm: Tensor<1>, max_norm: f64) {
    let factor = norm.add_scalar(1e-6).recip().mul_scalar(max_norm).clamp_max(1.0);
    model.visit(&mut Scale { grads, factor: Factor::OnDevice(&factor) });
}

/// Whether a dtype has 16 bits.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
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
    factor: Factor<'a>,
}

/// A factor the host knows, or `[1]` that only the device does.
enum Factor<'a> {
    Known(f64),
    OnDevice(&'a Tensor<1>),
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return };
        let scaled = match self.factor {
            Factor::Known(1.0) => grad.cast(FloatDType::F32),
            Factor::Known(factor) => grad.cast(FloatDType::F32).mul_scalar(factor),
            Factor::OnDevice(factor) => {
                let factor = factor.clone().cast(FloatDType::from(grad.dtype()));
                grad.mul(factor.unsqueeze())
            }
        };
        self.grads.register(param.id, scaled);
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;

    use super::*;
    use crate::testing::device;

    #[test]
    fn norm_and_clipping_are_global() {
        let device = device();
        let model = LinearConfig::new(1, 2).init(&device);
        let (weight, bias) = (model.weight.id, model.bias.as_ref().unwrap().id);
        let grads = |factor: f64| {
            let mut grads = GradientsParams::new();
            assert!(global_norm(&model, &grads).is_none(), "nothing to measure");
            grads.register(weight, Tensor::<2>::from_data([[3.0, 0.0]], &device));
            grads.register(bias, Tensor::<1>::from_data([0.0, -4.0], &device));
            scale(&model, &mut grads, factor);
            grads
        };
        for (factor, max_norm, want) in [(1.0, 2.5, 0.5), (1.0, 10.0, 1.0), (4.0, 5.0, 1.0)] {
            let mut grads = grads(factor);
            let norm = global_norm(&model, &grads).unwrap();
            assert_eq!(norm.clone().into_scalar::<f32>(), 5.0 * factor as f32);
            clip(&model, &mut grads, norm, max_norm);
            let weight = grads.get::<2>(weight).unwrap().into_data().iter::<f32>().next().unwrap();
            let bias = grads.get::<1>(bias).unwrap().into_data().iter::<f32>().nth(1).unwrap();
            assert!((weight - 3.0 * want).abs() < 1e-5, "{weight}");
            assert!((bias + 4.0 * want).abs() < 1e-5, "{bias}");
        }
    }
}
