//! How a method steps its own parameters.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::check;

/// First and second moments of a parameter's gradient, f32, of the parameter's shape.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub first: Tensor<2>,
    pub second: Tensor<2>,
}

/// Where Adam adds the number that keeps it from dividing by zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Epsilon {
    /// To the root of the raw second moment (Hugging Face's former AdamW).
    BeforeCorrection(f64),
    /// To the root of the corrected second moment (PyTorch).
    AfterCorrection(f64),
}

/// Adam's update of one matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: Epsilon,
}

impl Adam {
    /// What to subtract from the parameter, and the new moments. `t` counts updates from 1.
    pub fn update(
        &self,
        moments: Option<Moments>,
        grad: Tensor<2>,
        lr: f64,
        t: usize,
    ) -> (Tensor<2>, Moments) {
        let (b1, b2) = (self.beta1, self.beta2);
        let square = grad.clone().mul(grad.clone()).mul_scalar(1.0 - b2);
        let grad = grad.mul_scalar(1.0 - b1);
        let moments = match moments {
            Some(Moments { first, second }) => Moments {
                first: first.mul_scalar(b1).add(grad),
                second: second.mul_scalar(b2).add(square),
            },
            None => Moments { first: grad, second: square },
        };
        let t = t.min(i32::MAX as usize) as i32;
        let correction = (1.0 - b2.powi(t)).sqrt();
        let eps = match self.eps {
            Epsilon::BeforeCorrection(eps) => eps,
            Epsilon::AfterCorrection(eps) => eps * correction,
        };
        let step_size = lr * correction / (1.0 - b1.powi(t));
        let denominator = moments.second.clone().sqrt().add_scalar(eps);
        (moments.first.clone().div(denominator).mul_scalar(step_size), moments)
    }
}

/// Optimizer of the parameters a low-rank method owns, as PyTorch defines it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    AdamW {
        /// Decay rate of the first moment.
        beta1: f64,
        /// Decay rate of the second moment.
        beta2: f64,
        /// Added to the root of the corrected second moment.
        eps: f64,
        /// Share of a parameter that is taken off it, times the learning rate, before its update.
        weight_decay: f64,
    },
    /// Plain gradient descent without momentum.
    Sgd,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Optimizer {
    /// The parameter after update number `t`, counted from 1, and its new moments.
    pub(crate) fn step(
        &self,
        value: Tensor<2>,
        grad: Tensor<2>,
        moments: Option<Moments>,
        lr: f64,
        t: usize,
    ) -> (Tensor<2>, Option<Moments>) {
        match *self {
            Self::Sgd => (value.sub(grad.mul_scalar(lr)), None),
            Self::AdamW { beta1, beta2, eps, weight_decay } => {
                let adam = Adam { beta1, beta2, eps: Epsilon::AfterCorrection(eps) };
                let (update, moments) = adam.update(moments, grad, lr, t);
                let value = match weight_decay {
                    0.0 => value,
                    decay => value.mul_scalar(1.0 - lr * decay),
                };
                (value.sub(update), Some(moments))
            }
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let Self::AdamW { beta1, beta2, eps, weight_decay } = *self else { return Ok(()) };
        for (key, beta) in [("optimizer.beta1", beta1), ("optimizer.beta2", beta2)] {
            check((0.0..1.0).contains(&beta), key, beta, "a decay rate in [0, 1)")?;
        }
        check(eps.is_finite() && eps > 0.0, "optimizer.eps", eps, "a positive number")?;
        let valid = weight_decay.is_finite() && weight_decay >= 0.0;
        check(valid, "optimizer.weight_decay", weight_decay, "a finite rate, 0 or more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, floats};

    const GRADS: [f64; 5] = [1.0, -0.5, 0.25, 0.0, 3.0];

    fn one(value: f64) -> Tensor<2> {
        Tensor::<2>::from_data([[value as f32]], &device())
    }

    fn value(tensor: Tensor<2>) -> f64 {
        f64::from(floats(&tensor.into_data())[0])
    }

    /// The arithmetic of both references for one entry, in f64.
    fn reference(lr: f64, eps: Epsilon) -> Vec<f64> {
        let (mut m, mut v) = (0.0, 0.0);
        let update = |(t, g): (usize, &f64)| {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let t = t as i32 + 1;
            let (c1, c2) = (1.0 - 0.9_f64.powi(t), 1.0 - 0.999_f64.powi(t));
            match eps {
                Epsilon::BeforeCorrection(eps) => lr * c2.sqrt() / c1 * m / (v.sqrt() + eps),
                Epsilon::AfterCorrection(eps) => lr * (m / c1) / ((v / c2).sqrt() + eps),
            }
        };
        GRADS.iter().enumerate().map(update).collect()
    }

    #[test]
    fn updates_follow_the_reference() {
        // An eps large enough to show where it goes.
        for eps in [Epsilon::BeforeCorrection(0.05), Epsilon::AfterCorrection(0.05)] {
            let adam = Adam { beta1: 0.9, beta2: 0.999, eps };
            let mut moments = None;
            for (t, want) in reference(0.01, eps).into_iter().enumerate() {
                let (update, next) = adam.update(moments.take(), one(GRADS[t]), 0.01, t + 1);
                moments = Some(next);
                let got = value(update);
                assert!((got - want).abs() < 1e-6 * want.abs(), "step {t}: {got} against {want}");
            }
        }
    }

    #[test]
    fn fresh_moments_late_in_a_run_are_not_corrected() {
        let adam = Adam { beta1: 0.9, beta2: 0.999, eps: Epsilon::BeforeCorrection(1e-6) };
        for (t, amplified) in [(1, 1.0), (100, 0.98), (1000, 2.5)] {
            let got = value(adam.update(None, one(0.3), 1.0, t).0);
            assert!((got - amplified).abs() < 0.01 * amplified, "at t = {t}: {got}");
        }
    }

    #[test]
    fn weight_decay_is_decoupled_and_comes_first() {
        let adamw = Optimizer::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.5 };
        let (stepped, _) = adamw.step(one(2.0), one(3.0), None, 0.1, 1);
        assert!((value(stepped) - (2.0 * 0.95 - 0.1)).abs() < 1e-6);
        let (stepped, moments) = Optimizer::Sgd.step(one(2.0), one(3.0), None, 0.1, 1);
        assert!((value(stepped) - 1.7).abs() < 1e-6 && moments.is_none());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let with = |beta1, eps, weight_decay| {
            let optimizer = Optimizer::AdamW { beta1, beta2: 0.9, eps, weight_decay };
            optimizer.validate().unwrap_err().to_string()
        };
        assert!(with(1.0, 1e-8, 0.0).starts_with("`optimizer.beta1` is 1,"));
        assert!(with(0.9, 0.0, 0.0).starts_with("`optimizer.eps` is 0,"));
        assert!(with(0.9, 1e-8, -1.0).starts_with("`optimizer.weight_decay` is -1,"));
        Optimizer::default().validate().unwrap();
    }
}
