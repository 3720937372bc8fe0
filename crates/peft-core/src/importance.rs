//! Smoothed importance and uncertainty of every entry of a weight.

use burn::tensor::{FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// How much a loss would change if an entry of the weight were removed, with `x = W ⊙ ∂L/∂W`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// `|x − ½x²|`, both terms of the Taylor expansion with the squared gradient in place of the
    /// second derivative (the LoSiA reference's default). Not invariant to the scale of the loss.
    ParamMix,
    /// `x²`.
    ParamSecond,
    /// `|x|`, as AdaLoRA uses.
    ParamFirst,
    /// `|∂L/∂W|`, the gradient's magnitude alone (an ablation of the LoSiA paper).
    Gradient,
}

impl Sensitivity {
    /// Sensitivity of each entry, f32, from a weight and its gradient of equal shape.
    pub fn of(&self, weight: Tensor<2>, grad: Tensor<2>) -> Tensor<2> {
        let grad = grad.cast(FloatDType::F32);
        let x = |grad: Tensor<2>| weight.cast(FloatDType::F32).mul(grad);
        match self {
            Self::ParamMix => {
                let x = x(grad);
                let damping = x.clone().mul_scalar(-0.5).add_scalar(1.0);
                x.mul(damping).abs() // |x − ½x²| = |x·(1 − ½x)|
            }
            Self::ParamSecond => {
                let x = x(grad);
                x.clone().mul(x)
            }
            Self::ParamFirst => x(grad).abs(),
            Self::Gradient => grad.abs(),
        }
    }
}

/// Exponential moving averages of sensitivity, `I`, and of its variation, `U`, in f32 whatever the
/// weight's dtype. Both start at zero and are not bias-corrected.
#[derive(Debug, Clone)]
pub struct Importance {
    /// Smoothed sensitivity.
    pub i: Tensor<2>,
    /// Smoothed uncertainty.
    pub u: Tensor<2>,
}

impl Importance {
    /// The averages after a first sample, of the sample's shape.
    pub fn first(sample: Tensor<2>, beta1: f64, beta2: f64) -> Self {
        let zero = Self { i: sample.zeros_like(), u: sample.zeros_like() };
        zero.update(sample, beta1, beta2)
    }

    /// `I ← β₁I + (1−β₁)s`, then `U ← β₂U + (1−β₂)|s − I|` with the new `I`.
    #[must_use]
    pub fn update(self, sample: Tensor<2>, beta1: f64, beta2: f64) -> Self {
        let i = self.i.mul_scalar(beta1).add(sample.clone().mul_scalar(1.0 - beta1));
        let variation = sample.sub(i.clone()).abs();
        let u = self.u.mul_scalar(beta2).add(variation.mul_scalar(1.0 - beta2));
        Self { i, u }
    }

    /// `s = I ⊙ U`.
    pub fn score(&self) -> Tensor<2> {
        self.i.clone().mul(self.u.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, floats};

    fn matrix(values: [f32; 3]) -> Tensor<2> {
        Tensor::from_data([values], &device())
    }

    #[test]
    fn sensitivities_are_those_of_the_definition() {
        let (weight, grad) = ([0.5, -2.0, 0.0], [0.4, 3.0, 7.0]); // x = 0.2, −6, 0
        for (sensitivity, want) in [
            (Sensitivity::ParamMix, [0.18, 24.0, 0.0]),
            (Sensitivity::ParamSecond, [0.04, 36.0, 0.0]),
            (Sensitivity::ParamFirst, [0.2, 6.0, 0.0]),
            (Sensitivity::Gradient, [0.4, 3.0, 7.0]),
        ] {
            let got = floats(&sensitivity.of(matrix(weight), matrix(grad)).into_data());
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() < 1e-6, "{sensitivity:?}: {got} against {want}");
            }
        }
    }

    #[test]
    fn averages_start_at_zero_and_use_the_new_mean() {
        let first = Importance::first(matrix([1.0, 0.0, 4.0]), 0.75, 0.5);
        assert_eq!(floats(&first.i.clone().into_data()), [0.25, 0.0, 1.0]);
        assert_eq!(floats(&first.u.clone().into_data()), [0.375, 0.0, 1.5]); // ½·|s − I|
        let second = first.update(matrix([1.0, 2.0, 0.0]), 0.75, 0.5);
        assert_eq!(floats(&second.i.clone().into_data()), [0.4375, 0.5, 0.75]);
        assert_eq!(floats(&second.u.clone().into_data()), [0.46875, 0.75, 1.125]);
        assert_eq!(floats(&second.score().into_data()), [0.205_078_13, 0.375, 0.84375]);
    }
}
