//! Root-mean-square normalisation.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};

/// `x / sqrt(mean(x²) + eps) * weight` over the last dimension, the quotient computed in f32.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Scale of each coordinate, `[hidden_size]`, ones before training.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    pub(super) fn new(hidden_size: usize, eps: f64, device: &Device) -> Self {
        Self { weight: Initializer::Ones.init([hidden_size], device), eps }
    }

    /// Normalises each row of `x`, of any shape `[.., hidden_size]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let rms = (x.clone().square().mean_dim(D - 1) + self.eps).sqrt(); // [.., 1]
        (x / rms).cast(dtype) * self.weight.val().unsqueeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    #[test]
    fn rows_are_divided_by_their_root_mean_square() {
        let mut norm = RmsNorm::new(2, 0.0, &device());
        norm.weight = Param::from_data([1.0, 10.0], &device());
        let x = Tensor::<2>::from_data([[3.0, 4.0], [-1.0, 1.0]], &device());
        let got = norm.forward(x).try_into_vec_as::<f32>().unwrap();
        let rms = 12.5f32.sqrt();
        let want = [3.0 / rms, 40.0 / rms, -1.0, 10.0];
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}");
    }

    #[test]
    fn half_precision_does_not_overflow() {
        let device = Device::flex();
        let mut norm = RmsNorm::new(2, 1e-5, &device);
        norm.weight = norm.weight.map(|weight| weight.cast(DType::F16));
        let x = Tensor::<1>::from_data([60_000.0, -60_000.0], (&device, DType::F16));
        let got = norm.forward(x);
        assert_eq!(got.dtype(), DType::F16);
        assert_eq!(got.try_into_vec_as::<f32>().unwrap(), [1.0, -1.0]);
    }
}
