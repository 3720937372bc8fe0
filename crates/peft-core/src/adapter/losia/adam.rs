//! Adam on a block, as the LoSiA reference computes it.

use burn::tensor::Tensor;

/// First and second moments of a block's gradient, `[r, c]` each, f32.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub first: Tensor<2>,
    pub second: Tensor<2>,
}

/// Adam with `eps` added before bias correction (Hugging Face's former AdamW).
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockAdam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

impl BlockAdam {
    /// What to subtract from the block, and the new moments. `t` counts updates from 1.
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
        let step_size = lr * (1.0 - b2.powi(t)).sqrt() / (1.0 - b1.powi(t));
        let denominator = moments.second.clone().sqrt().add_scalar(self.eps);
        (moments.first.clone().div(denominator).mul_scalar(step_size), moments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, floats};

    /// The reference's arithmetic for one entry, in f64.
    fn reference(grads: &[f64], lr: f64, eps: f64) -> Vec<f64> {
        let (mut m, mut v) = (0.0, 0.0);
        let update = |(t, g): (usize, &f64)| {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let t = t as i32 + 1;
            let step = lr * (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
            step * m / (v.sqrt() + eps)
        };
        grads.iter().enumerate().map(update).collect()
    }

    #[test]
    fn updates_follow_the_reference() {
        let (device, lr, eps) = (device(), 0.01, 0.05); // an eps large enough to show where it goes
        let adam = BlockAdam { beta1: 0.9, beta2: 0.999, eps };
        let grads = [1.0, -0.5, 0.25, 0.0, 3.0];
        let mut moments = None;
        for (t, want) in reference(&grads, lr, eps).into_iter().enumerate() {
            let grad = Tensor::<2>::from_data([[grads[t] as f32]], &device);
            let (update, next) = adam.update(moments.take(), grad, lr, t + 1);
            moments = Some(next);
            let got = f64::from(floats(&update.into_data())[0]);
            assert!((got - want).abs() < 1e-6 * want.abs(), "step {t}: {got} against {want}");
        }
    }

    #[test]
    fn fresh_moments_late_in_a_run_are_not_corrected() {
        let grad = || Tensor::<2>::from_data([[0.3_f32]], &device());
        let adam = BlockAdam { beta1: 0.9, beta2: 0.999, eps: 1e-6 };
        for (t, amplified) in [(1, 1.0), (100, 0.98), (1000, 2.5)] {
            let (update, _) = adam.update(None, grad(), 1.0, t);
            let got = floats(&update.into_data())[0];
            assert!((got - amplified).abs() < 0.01 * amplified, "at t = {t}: {got}");
        }
    }
}
