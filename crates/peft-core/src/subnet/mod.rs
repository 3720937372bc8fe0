//! A subnet: the sub-block of a weight that is trained.

mod localize;
mod settle;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

pub use localize::{Localized, Strategy, candidates, localize};
pub use settle::{SettledBlock, settle};

use crate::Error;

/// Rows and columns of a weight matrix as Burn stores it: for a `Linear`, `[d_input, d_output]`,
/// rows are input neurons and columns output neurons (the LoSiA reference, on PyTorch's
/// `[out, in]`, has them the other way round).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    rows: Vec<usize>,
    cols: Vec<usize>,
}

impl Subnet {
    /// A subnet of a matrix of `shape`.
    ///
    /// # Errors
    /// [`Error::Subnet`] unless both lists are non-empty, strictly increasing and in range.
    pub fn new(rows: Vec<usize>, cols: Vec<usize>, shape: [usize; 2]) -> Result<Self, Error> {
        Self { rows, cols }.checked(shape)
    }

    /// This subnet, if it is one of a matrix of `shape`: what was deserialized need not be.
    ///
    /// # Errors
    /// [`Error::Subnet`], as [`new`](Self::new).
    pub fn checked(self, shape: [usize; 2]) -> Result<Self, Error> {
        validate("rows", &self.rows, shape[0])?;
        validate("columns", &self.cols, shape[1])?;
        Ok(self)
    }

    /// `size` rows and columns, each at most the dimension, drawn uniformly without replacement.
    pub fn random(shape: [usize; 2], size: [usize; 2], rng: &mut impl Rng) -> Self {
        let mut draw = |dim: usize, count: usize| {
            let mut all: Vec<usize> = (0..dim).collect();
            all.shuffle(rng);
            all.truncate(count);
            all.sort_unstable();
            all
        };
        Self { rows: draw(shape[0], size[0]), cols: draw(shape[1], size[1]) }
    }

    /// Indices along dimension 0, strictly increasing.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Indices along dimension 1, strictly increasing.
    pub fn cols(&self) -> &[usize] {
        &self.cols
    }

    /// Shape of the block, `[rows, columns]`.
    pub fn size(&self) -> [usize; 2] {
        [self.rows.len(), self.cols.len()]
    }

    /// Rows and columns as index tensors on `device`.
    pub fn to_tensors(&self, device: &Device) -> [Tensor<1, Int>; 2] {
        [&self.rows, &self.cols].map(|indices| index_tensor(indices, device))
    }
}

fn index_tensor(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let data: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
    Tensor::from_data(TensorData::new(data, [indices.len()]), device)
}

/// Rows or columns of a subnet along a dimension: `factor · dim` truncated as the reference does
/// (in f64), but at least one.
pub fn subnet_size(factor: f64, dim: usize) -> usize {
    ((factor * dim as f64) as usize).clamp(1, dim.max(1))
}

/// The sub-block of a matrix at `rows` × `cols`.
pub fn gather(matrix: Tensor<2>, rows: Tensor<1, Int>, cols: Tensor<1, Int>) -> Tensor<2> {
    matrix.select(0, rows).select(1, cols)
}

fn validate(axis: &'static str, indices: &[usize], dim: usize) -> Result<(), Error> {
    let problem = match indices {
        [] => Some("are empty".to_string()),
        _ => indices
            .windows(2)
            .find(|pair| pair[0] >= pair[1])
            .map(|pair| format!("are not strictly increasing: {} before {}", pair[0], pair[1]))
            .or_else(|| {
                indices
                    .last()
                    .filter(|&&last| last >= dim)
                    .map(|last| format!("reach {last}, but the dimension is {dim}"))
            }),
    };
    problem.map_or(Ok(()), |problem| Err(Error::Subnet { axis, problem }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_sorted_unique_indices_in_range() {
        assert!(Subnet::new(vec![0, 2], vec![1], [3, 2]).is_ok());
        for (rows, cols, problem) in [
            (vec![], vec![0], "rows are empty"),
            (vec![1, 1], vec![0], "rows are not strictly increasing: 1 before 1"),
            (vec![2, 0], vec![0], "rows are not strictly increasing: 2 before 0"),
            (vec![0, 3], vec![0], "rows reach 3, but the dimension is 3"),
            (vec![0], vec![2], "columns reach 2, but the dimension is 2"),
        ] {
            let error = Subnet::new(rows, cols, [3, 2]).unwrap_err();
            assert_eq!(error.to_string(), format!("subnet {problem}"));
        }
    }

    #[test]
    fn sizes_truncate_like_the_reference_and_never_vanish() {
        assert_eq!(subnet_size(0.29, 100), 28); // 0.29 · 100 = 28.999…
        assert_eq!(subnet_size(0.57, 100), 56);
        assert_eq!(subnet_size(0.125, 4), 1);
        assert_eq!(subnet_size(1.0, 7), 7);
    }
}
