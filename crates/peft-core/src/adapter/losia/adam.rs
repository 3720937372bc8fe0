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
