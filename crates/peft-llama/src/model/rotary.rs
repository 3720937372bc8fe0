//! Rotary position embedding.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Turns each pair of coordinates of a query or key by an angle proportional to its position.
///
/// Coordinate `i` is paired with `i + head_dim / 2`, as in Hugging Face's checkpoints.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// Angle per position of each pair, `[head_dim / 2]`.
    inv_freq: Vec<f32>,
}

/// Cosines and sines of the positions of one forward pass.
#[derive(Debug, Clone)]
pub(super) struct Angles {
    cos: Tensor<4>, // [rows, 1, seq, head_dim / 2]
    sin: Tensor<4>, // [rows, 1, seq, head_dim / 2]
}

impl Rotary {
    pub(super) fn new(inv_freq: Vec<f32>) -> Self {
        Self { inv_freq }
    }

    /// Angles of `positions`: one row for all sequences, or one row for each. They are computed
    /// on the host: GPUs only promise sines of small angles.
    pub(super) fn angles(&self, positions: &[Vec<usize>], device: &Device, dtype: DType) -> Angles {
        let rows = positions.len();
        let shape = [rows, 1, positions[0].len(), self.inv_freq.len()];
        let (sin, cos): (Vec<f32>, Vec<f32>) = positions
            .iter()
            .flatten()
            .flat_map(|&position| {
                self.inv_freq.iter().map(move |f| (position as f32 * f).sin_cos())
            })
            .unzip();
        let tensor = |values| Tensor::from_data(TensorData::new(values, shape), (device, dtype));
        Angles { cos: tensor(cos), sin: tensor(sin) }
    }
}

impl Angles {
    /// Turns `x` `[batch, heads, seq, head_dim]`.
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let first = x.clone().narrow(3, 0, half); // [batch, heads, seq, head_dim / 2]
        let second = x.narrow(3, half, half); // [batch, heads, seq, head_dim / 2]
        let (cos, sin) = (&self.cos, &self.sin);
        Tensor::cat(
            vec![
                first.clone() * cos.clone() - second.clone() * sin.clone(),
                second * cos.clone() + first * sin.clone(),
            ],
            3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_testing::device;

    fn turn(position: usize) -> Vec<f32> {
        let rotary = Rotary::new(vec![1.0, 0.5]);
        let x = Tensor::<1>::from_data([1.0, 2.0, 3.0, 4.0], &device()).reshape([1, 1, 1, 4]);
        let angles = rotary.angles(&[vec![position]], &device(), DType::F32);
        angles.apply(x).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn coordinates_a_half_apart_turn_together() {
        let (sin, cos) = 2f32.sin_cos();
        let (sin_half, cos_half) = 1f32.sin_cos();
        let want = [
            cos - 3.0 * sin,
            2.0 * cos_half - 4.0 * sin_half,
            3.0 * cos + sin,
            4.0 * cos_half + 2.0 * sin_half,
        ];
        let got = turn(2);
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
    }

    #[test]
    fn position_zero_stays() {
        assert_eq!(turn(0), [1.0, 2.0, 3.0, 4.0]);
    }
}
