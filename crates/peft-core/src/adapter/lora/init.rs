//! What the two matrices start as.

use burn::linalg::{qr, svd};
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use crate::adapter::low_rank::draw;
use crate::rng::path_rng;

/// Sweeps after which Burn's decomposition panics. It converges in a fraction of them for finite
/// weights.
const SVD_SWEEPS: usize = 100;

/// Directions a randomised decomposition looks at beyond those wanted.
const OVERSAMPLING: usize = 10;

/// Uniform in ±1/√d_input: what PyTorch's `kaiming_uniform_(a=√5)` gives, `[d_input, r]`.
pub(super) fn kaiming(shape: [usize; 2], seed: u64, path: &str) -> TensorData {
    let bound = (shape[0] as f32).sqrt().recip();
    draw(shape, &mut path_rng(seed, path), |rng| rng.random_range(-bound..=bound))
}

/// `A·√(S/s)` and `√(S/s)·B` of the `r` largest singular triplets, so that `s·A·B` is the weight's
/// best approximation of rank `r`: `[d_input, r]` and `[r, d_output]`.
pub(super) fn pissa(
    weight: Tensor<2>,
    r: usize,
    scaling: f64,
    iterations: Option<usize>,
    seed: u64,
    path: &str,
) -> [Tensor<2>; 2] {
    let (u, s, vt) = match iterations {
        None => svd::<2, 1>(weight, SVD_SWEEPS),
        Some(iterations) => randomized_svd(weight, r, iterations, seed, path),
    };
    let root = s.slice(0..r).div_scalar(scaling).sqrt(); // [r]
    let a = u.slice_dim(1, 0..r).mul(root.clone().unsqueeze_dim(0));
    let b = vt.slice_dim(0, 0..r).mul(root.unsqueeze_dim(1));
    [a, b]
}

/// Decomposition of the part of `weight` that a random subspace, sharpened by power iterations,
/// finds (Halko, Martinsson and Tropp, 2011, algorithms 4.4 and 5.1).
fn randomized_svd(
    weight: Tensor<2>,
    r: usize,
    iterations: usize,
    seed: u64,
    path: &str,
) -> (Tensor<2>, Tensor<1>, Tensor<2>) {
    let [rows, cols] = weight.dims();
    let width = (r + OVERSAMPLING).min(rows).min(cols);
    let mut rng = path_rng(seed, path);
    let normal = draw([cols, width], &mut rng, |rng| rng.sample(rand_distr::StandardNormal));
    let test = Tensor::<2>::from_data(normal, &weight.device());
    let basis = |subspace: Tensor<2>| qr(subspace, true).0;
    let mut range = basis(weight.clone().matmul(test)); // [rows, width]
    for _ in 0..iterations {
        let back = basis(weight.clone().transpose().matmul(range)); // [cols, width]
        range = basis(weight.clone().matmul(back));
    }
    let small = range.clone().transpose().matmul(weight); // [width, cols]
    let (u, s, vt) = svd::<2, 1>(small, SVD_SWEEPS);
    (range.matmul(u), s, vt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, floats};

    fn weight(rows: usize, cols: usize) -> Tensor<2> {
        let data = kaiming([rows, cols], 3, "weight");
        Tensor::from_data(data, &device())
    }

    #[test]
    fn the_uniform_range_is_that_of_the_input_and_depends_on_seed_and_path() {
        let drawn = |seed, path| floats(&kaiming([16, 40], seed, path));
        let values = drawn(0, "a");
        assert!(values.iter().all(|v| v.abs() <= 0.25));
        let mean_square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((mean_square - 0.0625 / 3.0).abs() < 2e-3, "{mean_square}");
        assert_eq!(values, drawn(0, "a"));
        assert!(values != drawn(1, "a") && values != drawn(0, "b"));
    }

    #[test]
    fn pissa_takes_the_best_approximation_of_its_rank() {
        for (rows, cols) in [(12, 20), (20, 12)] {
            let weight = weight(rows, cols);
            let (_, values, _) = svd::<2, 1>(weight.clone(), SVD_SWEEPS);
            let rest: f32 = floats(&values.into_data())[3..].iter().map(|s| s * s).sum();
            for iterations in [None, Some(16)] {
                let [a, b] = pissa(weight.clone(), 3, 2.0, iterations, 0, "w");
                assert_eq!((a.dims(), b.dims()), ([rows, 3], [3, cols]));
                let residual = weight.clone().sub(a.matmul(b).mul_scalar(2.0));
                let residual: f32 = residual.clone().mul(residual).sum().into_scalar();
                let error = (residual - rest).abs() / rest;
                assert!(error < 1e-3, "{rows}x{cols} {iterations:?}: {residual} against {rest}");
            }
        }
    }
}
