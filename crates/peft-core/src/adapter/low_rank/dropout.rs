//! Dropout on an adapter's input.

use burn::tensor::{Distribution, Tensor};

/// Zeroes entries with probability `p` and scales the others by `1 / (1 − p)`, on autodiff devices
/// only. The draws come from the device's generator.
pub fn dropout(x: Tensor<2>, p: f64) -> Tensor<2> {
    if p == 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let kept = x.random_like(Distribution::Bernoulli(1.0 - p));
    x.mul(kept).mul_scalar((1.0 - p).recip())
}
