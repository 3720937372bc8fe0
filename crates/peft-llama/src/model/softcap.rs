//! Soft caps of scores and logits.

use burn::tensor::Tensor;

/// `cap · tanh(x / cap)`: nearly `x` where it is small, never beyond ± `cap`. Without a cap, `x`.
pub(super) fn softcap<const D: usize>(x: Tensor<D>, cap: Option<f64>) -> Tensor<D> {
    match cap {
        Some(cap) => (x / cap).tanh() * cap,
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_testing::device;

    #[test]
    fn small_values_stay_and_large_ones_reach_the_cap() {
        let x = Tensor::<1>::from_data([-1e4, -0.01, 0.0, 5.0, 1e4], &device());
        let got = softcap(x.clone(), Some(5.0)).try_into_vec_as::<f32>().unwrap();
        let want = [-5.0, -0.01, 0.0, 5.0 * 1f32.tanh(), 5.0];
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}");
        softcap(x.clone(), None).into_data().assert_eq(&x.into_data(), true);
    }

    #[test]
    fn the_gradient_vanishes_at_the_cap() {
        let x = Tensor::<1>::from_data([0.0, 1e4], &device().autodiff()).require_grad();
        let gradients = softcap(x.clone(), Some(5.0)).sum().backward();
        let gradient = x.grad(&gradients).unwrap().try_into_vec_as::<f32>().unwrap();
        assert_eq!(gradient, [1.0, 0.0]);
    }
}
