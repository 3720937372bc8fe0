//! Cross-entropy of next tokens, without a reduction over a batch.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor};

/// Target id that takes no part in the loss.
pub const IGNORE_INDEX: i64 = -100;

/// Sum of the cross-entropies of predicting `targets[:, 1:]` from `logits[:, :-1]`, `[1]` in f32,
/// and the number of targets summed over, `[1]`.
///
/// `logits` are `[batch, seq, vocab]`, `targets` `[batch, seq]` hold token ids or
/// [`IGNORE_INDEX`]. Nothing is divided: the caller knows over how many micro-batches to average.
///
/// # Panics
/// Burn panics where another target is not a token id, or the shapes differ.
pub fn cross_entropy_sum(
    logits: Tensor<3>,
    targets: Tensor<2, Int>,
) -> (Tensor<1>, Tensor<1, Int>) {
    let [batch, seq, vocab] = logits.dims();
    let targets = shift(targets).reshape([batch * seq, 1]);
    let ignored = targets.clone().equal_elem(IGNORE_INDEX); // [batch * seq, 1]
    let count = ignored.clone().bool_not().int().sum();

    let logits = logits.reshape([batch * seq, vocab]).cast(DType::F32);
    let ids = targets.mask_fill(ignored.clone(), 0);
    let log_likelihood = log_softmax(logits, 1).gather(1, ids); // [batch * seq, 1]
    (log_likelihood.mask_fill(ignored, 0.0).sum().neg(), count)
}

/// Moves targets to the position that predicts them. Shifting targets instead of logits spares a
/// copy of the logits.
fn shift(targets: Tensor<2, Int>) -> Tensor<2, Int> {
    let [batch, seq] = targets.dims();
    let last = Tensor::full([batch, 1], IGNORE_INDEX, (&targets.device(), targets.dtype()));
    Tensor::cat(vec![targets, last], 1).narrow(1, 1, seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_testing::device;

    fn loss(logits: Tensor<3>, targets: Tensor<2, Int>) -> (f32, i64) {
        let (sum, count) = cross_entropy_sum(logits, targets);
        (sum.try_into_vec_as::<f32>().unwrap()[0], count.try_into_vec_as::<i64>().unwrap()[0])
    }

    #[test]
    fn sums_over_the_targets_that_count() {
        let logits = Tensor::<3>::from_data(
            [[[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0], [9.0, 0.0]]],
            &device(),
        );
        let targets = Tensor::<2, Int>::from_data([[0, 1, 1], [1, -100, 0]], &device());
        let (sum, count) = loss(logits, targets);
        let want = (1.0 + (-1f32).exp()).ln() + (1.0 + 2f32.exp()).ln() + 2f32.ln();
        assert!((sum - want).abs() < 1e-5, "{sum} {want}");
        assert_eq!(count, 3);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let logits = Tensor::<3>::from_data([[[1e4, -1e4], [0.0, 0.0]]], &device());
        let right = loss(logits.clone(), Tensor::from_data([[0, 0]], &device()));
        let wrong = loss(logits, Tensor::from_data([[0, 1]], &device()));
        assert_eq!((right, wrong), ((0.0, 1), (2e4, 1)));
    }

    #[test]
    fn no_targets_no_loss() {
        let logits = Tensor::<3>::ones([1, 2, 3], &device());
        assert_eq!(loss(logits.clone(), Tensor::full([1, 2], IGNORE_INDEX, &device())), (0.0, 0));
        assert_eq!(loss(logits.narrow(1, 0, 1), Tensor::zeros([1, 1], &device())), (0.0, 0));
    }

    #[test]
    fn the_gradient_is_softmax_minus_target() {
        let device = device().autodiff();
        let logits = Tensor::<3>::from_data([[[0.0, 0.0], [3.0, 0.0]]], &device).require_grad();
        let targets = Tensor::<2, Int>::from_data([[0, 1]], &device);
        let gradients = cross_entropy_sum(logits.clone(), targets).0.backward();
        let gradient = logits.grad(&gradients).unwrap().try_into_vec_as::<f32>().unwrap();
        assert_eq!(gradient, [0.5, -0.5, 0.0, 0.0]);
    }
}
