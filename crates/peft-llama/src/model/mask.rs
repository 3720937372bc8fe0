//! Which keys a query may look at, as a term added to the attention scores.

use burn::tensor::{Bool, DType, Device, Int, Tensor};

/// Added to the scores of hidden keys. Finite, so that a row that may see nothing (padding) gets
/// some average instead of NaN.
const HIDDEN: f32 = -1e30;

/// Scores' biases of one forward pass, each to be broadcast over
/// `[batch, kv_heads, group, queries, keys]`; `None` where nothing is hidden.
pub(super) struct Masks {
    full: Option<Tensor<5>>,
    sliding: Option<Tensor<5>>,
}

/// What else than the future is hidden from the tokens of a batch.
#[derive(Default)]
pub(super) struct Hidden {
    /// `[batch, keys]`, true at tokens and false at padding; `None` where nothing is padded.
    pub real: Option<Tensor<2, Bool>>,
    /// `[batch, keys]`, which of its row's documents a token belongs to; `None` where rows are one
    /// document each.
    pub documents: Option<Tensor<2, Int>>,
}

impl Masks {
    /// For the last `queries` of `keys` positions, in layers that see all of them and in layers
    /// that see `window`.
    pub fn new(
        [queries, keys]: [usize; 2],
        window: Option<usize>,
        hidden: Hidden,
        device: &Device,
    ) -> Self {
        let full = combine(causal(queries, keys, device), hidden.real.map(padding));
        let full = combine(full, hidden.documents.map(other_documents));
        let past = window.and_then(|window| past(queries, keys, window, device));
        Self { sliding: combine(full.clone(), past), full }
    }

    /// The bias for a layer with this `window`.
    pub fn of(&self, window: Option<usize>) -> Option<Tensor<5>> {
        match window {
            Some(_) => self.sliding.clone(),
            None => self.full.clone(),
        }
    }
}

/// Bias `[1, 1, 1, queries, keys]` that hides the future from the last `queries` of `keys`
/// positions; `None` for a single query, which may see all.
fn causal(queries: usize, keys: usize, device: &Device) -> Option<Tensor<5>> {
    (queries > 1).then(|| {
        let before = (keys - queries) as i64;
        let hidden = Tensor::<2, Bool>::tril_mask([queries, keys], before, device);
        bias(hidden).reshape([1, 1, 1, queries, keys])
    })
}

/// Bias `[1, 1, 1, queries, keys]` that hides the tokens `window` or more before a query; `None`
/// where there are none.
fn past(queries: usize, keys: usize, window: usize, device: &Device) -> Option<Tensor<5>> {
    (keys > window).then(|| {
        let first = (keys - queries) as i64 + 1 - window as i64; // the first query's first key
        let hidden = Tensor::<2, Bool>::triu_mask([queries, keys], first, device);
        bias(hidden).reshape([1, 1, 1, queries, keys])
    })
}

/// Bias `[batch, 1, 1, 1, keys]` that hides padding; `real` is true at tokens.
fn padding(real: Tensor<2, Bool>) -> Tensor<5> {
    let [batch, keys] = real.dims();
    bias(real.bool_not()).reshape([batch, 1, 1, 1, keys])
}

/// Bias `[batch, 1, 1, seq, seq]` that hides the documents a query does not belong to.
fn other_documents(documents: Tensor<2, Int>) -> Tensor<5> {
    let [batch, seq] = documents.dims();
    let of_keys = documents.clone().reshape([batch, 1, seq]).expand([batch, seq, seq]);
    let of_queries = documents.reshape([batch, seq, 1]).expand([batch, seq, seq]);
    bias(of_keys.not_equal(of_queries)).reshape([batch, 1, 1, seq, seq])
}

/// Both biases in one.
fn combine(a: Option<Tensor<5>>, b: Option<Tensor<5>>) -> Option<Tensor<5>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn bias<const D: usize>(hidden: Tensor<D, Bool>) -> Tensor<D> {
    hidden.float().cast(DType::F32) * HIDDEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_testing::device;

    fn visible(bias: Tensor<5>) -> Vec<bool> {
        bias.try_into_vec_as::<f32>().unwrap().iter().map(|&bias| bias == 0.0).collect()
    }

    fn padded(real: Tensor<2, Bool>) -> Hidden {
        Hidden { real: Some(real), documents: None }
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
        let both = Masks::new([2, 2], None, padded(real), &device()).of(None).unwrap();
        assert_eq!(both.dims(), [2, 1, 1, 2, 2]);
        assert_eq!(visible(both), [true, false, true, false, true, false, true, true]);
    }

    #[test]
    fn a_window_is_the_query_and_the_tokens_before_it() {
        let masks = Masks::new([3, 4], Some(2), Hidden::default(), &device());
        #[rustfmt::skip]
        let want = [
            true, true, false, false,
            false, true, true, false,
            false, false, true, true,
        ];
        assert_eq!(visible(masks.of(Some(2)).unwrap()), want);
        assert!(visible(masks.of(None).unwrap())[4]);
    }

    #[test]
    fn a_single_query_has_a_window_too() {
        let last = |keys| Masks::new([1, keys], Some(2), Hidden::default(), &device()).of(Some(2));
        assert_eq!(visible(last(4).unwrap()), [false, false, true, true]);
        assert!(last(2).is_none());
    }

    #[test]
    fn windows_and_padding_add_up() {
        let real = Tensor::<2, Bool>::from_data([[false, false, true]], &device());
        let mask = Masks::new([1, 3], Some(2), padded(real), &device()).of(Some(2)).unwrap();
        assert_eq!(visible(mask), [false, false, true]);
    }

    #[test]
    fn documents_of_a_row_are_hidden_from_each_other() {
        let documents = Tensor::<2, Int>::from_data([[0, 0, 1, 1]], &device());
        let hidden = Hidden { real: None, documents: Some(documents) };
        let masks = Masks::new([4, 4], Some(1), hidden, &device());
        #[rustfmt::skip]
        let want = [
            true, false, false, false,
            true, true, false, false,
            false, false, true, false,
            false, false, true, true,
        ];
        assert_eq!(visible(masks.of(None).unwrap()), want);
        let diagonal: Vec<bool> = (0..16).map(|at| at % 5 == 0).collect();
        assert_eq!(visible(masks.of(Some(1)).unwrap()), diagonal);
    }
}
