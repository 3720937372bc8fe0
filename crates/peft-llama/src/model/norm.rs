//! Root-mean-square normalisation.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};

use crate::DecoderConfig;

/// `x / sqrt(mean(x²) + eps) * weight` over the last dimension, the quotient computed in f32; in
/// Gemma with `1 + weight` in place of `weight`, and all of it in f32.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Scale of each coordinate, `[hidden_size]`: one before training, stored as zero in Gemma.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
    /// Whether the scale is `1 + weight`.
    pub unit_offset: bool,
}

impl RmsNorm {
    pub(super) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let unit_offset = config.model_type.is_gemma();
        let fresh = if unit_offset { Initializer::Zeros } else { Initializer::Ones };
        let weight = fresh.init([config.hidden_size], device);
        Self { weight, eps: config.rms_norm_eps, unit_offset }
    }

    /// Normalises each row of `x`, of any shape `[.., hidden_size]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let rms = (x.clone().square().mean_dim(D - 1) + self.eps).sqrt(); // [.., 1]
        let weight = self.weight.val().unsqueeze(); // [.., hidden_size]
        match self.unit_offset {
            true => (x / rms * (weight.cast(DType::F32) + 1.0)).cast(dtype),
            false => (x / rms).cast(dtype) * weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{tiny, tiny_gemma};
    use peft_testing::{device, device_with};

    /// A norm over two coordinates, as yet without effect on their scale.
    fn norm(config: DecoderConfig, device: &Device) -> RmsNorm {
        RmsNorm::new(&DecoderConfig { hidden_size: 2, rms_norm_eps: 1e-12, ..config }, device)
    }

    #[test]
    fn rows_are_divided_by_their_root_mean_square() {
        for (config, weight) in [(tiny(), [1.0, 10.0]), (tiny_gemma(), [0.0, 9.0])] {
            let mut norm = norm(config, &device());
            norm.weight = Param::from_data(weight, &device());
            let x = Tensor::<2>::from_data([[3.0, 4.0], [-1.0, 1.0]], &device());
            let got = norm.forward(x).try_into_vec_as::<f32>().unwrap();
            let rms = 12.5f32.sqrt();
            let want = [3.0 / rms, 40.0 / rms, -1.0, 10.0];
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}");
        }
    }

    #[test]
    fn half_precision_does_not_overflow() {
        let device = device_with(DType::F16);
        for config in [tiny(), tiny_gemma()] {
            let mut norm = norm(config, &device);
            norm.weight = norm.weight.map(|weight| weight.cast(DType::F16));
            let x = Tensor::<1>::from_data([60_000.0, -60_000.0], (&device, DType::F16));
            let got = norm.forward(x);
            assert_eq!(got.dtype(), DType::F16);
            assert_eq!(got.try_into_vec_as::<f32>().unwrap(), [1.0, -1.0]);
        }
    }

    #[test]
    fn gemma_adds_one_in_f32() {
        let device = device_with(DType::BF16);
        let mut norm = norm(tiny_gemma(), &device);
        let little = 2f32.powi(-12);
        let weight = Tensor::from_data([little, 0.0], (&device, DType::BF16));
        norm.weight = Param::from_tensor(weight);
        let got = norm.forward(Tensor::<1>::ones([2], &device));
        let got = got.try_into_vec_as::<f32>().unwrap();
        assert!((got[0] - got[1] - little).abs() < little / 4.0, "{got:?}");
    }
}
