//! Which keys a query may look at, as a term added to the attention scores.

use burn::tensor::{Bool, DType, Device, Tensor};

/// Added to the scores of hidden keys. Finite, so that a row that may see nothing (padding) gets
/// some average instead of NaN.
const HIDDEN: f32 = -1e30;

/// Scores' bias `[1, 1, 1, queries, keys]` that hides the future from the last `queries` of `keys`
/// positions; `None` for a single query, which may see all.
pub(super) fn causal(queries: usize, keys: usize, device: &Device) -> Option<Tensor<5>> {
    (queries > 1).then(|| {
        let before = (keys - queries) as i64;
        let hidden = Tensor::<2, Bool>::tril_mask([queries, keys], before, device);
        bias(hidden).reshape([1, 1, 1, queries, keys])
    })
}

/// Scores' bias `[batch, 1, 1, 1, keys]` that hides padding; `real` is true at tokens.
pub(super) fn padding(real: Tensor<2, Bool>) -> Tensor<5> {
    let [batch, keys] = real.dims();
    bias(real.bool_not()).reshape([batch, 1, 1, 1, keys])
}

/// Both biases in one.
pub(super) fn combine(a: Option<Tensor<5>>, b: Option<Tensor<5>>) -> Option<Tensor<5>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn bias(hidden: Tensor<2, Bool>) -> Tensor<2> {
    hidden.float().cast(DType::F32) * HIDDEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    fn visible(bias: Tensor<5>) -> Vec<bool> {
        bias.try_into_vec_as::<f32>().unwrap().iter().map(|&bias| bias == 0.0).collect()
    }

    #[test]
    fn queries_after_a_cache_see_it_and_themselves() {
        let bias = causal(2, 4, &device()).unwrap();
        assert_eq!(visible(bias), [true, true, true, false, true, true, true, true]);
        assert!(causal(1, 4, &device()).is_none());
    }

    #[test]
    fn padding_is_hidden_in_its_row_only() {
        let real = Tensor::<2, Bool>::from_data([[true, false], [true, true]], &device());
        let both = combine(causal(2, 2, &device()), Some(padding(real))).unwrap();
        assert_eq!(both.dims(), [2, 1, 1, 2, 2]);
        assert_eq!(visible(both), [true, false, true, false, true, false, true, true]);
    }
}
