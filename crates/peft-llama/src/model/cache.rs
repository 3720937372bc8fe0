//! Keys and values of the tokens read so far.

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// What [`CausalLm::step`](crate::CausalLm::step) remembers of a batch: keys and values of every
/// layer, and where each sequence begins.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// Number of padding tokens in front of each sequence.
    padding: Vec<usize>,
    /// Tokens read so far, padding included.
    len: usize,
    pub(super) layers: Vec<LayerCache>,
}

/// Keys and values of one layer, `[batch, kv_heads, len, head_dim]` each.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerCache(Option<(Tensor<4>, Tensor<4>)>);

impl KvCache {
    /// An empty cache for `padding.len()` sequences that are padded in front by that many tokens,
    /// so that all of them end in the same column.
    pub fn new(padding: Vec<usize>) -> Self {
        Self { padding, len: 0, layers: Vec::new() }
    }

    /// Number of tokens read so far, padding included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes note of `seq` more tokens and returns their positions, counted from the first real
    /// token of each sequence; one row for all where no sequence is padded.
    pub(super) fn advance(&mut self, seq: usize) -> Vec<Vec<usize>> {
        let columns = self.len..self.len + seq;
        self.len += seq;
        let row = |padding: usize| columns.clone().map(|c| c.saturating_sub(padding)).collect();
        match self.is_padded() {
            true => self.padding.iter().map(|&padding| row(padding)).collect(),
            false => vec![row(0)],
        }
    }

    /// `[batch, len]`, true at real tokens; `None` where no sequence is padded.
    pub(super) fn real_tokens(&self, device: &Device) -> Option<Tensor<2, Bool>> {
        self.is_padded().then(|| {
            let real = |&padding: &usize| (0..self.len).map(move |column| column >= padding);
            let values: Vec<bool> = self.padding.iter().flat_map(real).collect();
            Tensor::from_data(TensorData::new(values, [self.padding.len(), self.len]), device)
        })
    }

    fn is_padded(&self) -> bool {
        self.padding.iter().any(|&padding| padding > 0)
    }
}

impl LayerCache {
    /// Appends keys and values `[batch, kv_heads, seq, head_dim]` and returns all so far.
    pub fn append(&mut self, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let all = match self.0.take() {
            None => (k, v),
            Some((old_k, old_v)) => {
                (Tensor::cat(vec![old_k, k], 2), Tensor::cat(vec![old_v, v], 2))
            }
        };
        self.0.insert(all).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_testing::device;

    #[test]
    fn positions_count_from_the_first_real_token() {
        let mut cache = KvCache::new(vec![0, 2]);
        assert_eq!(cache.advance(3), [[0, 1, 2], [0, 0, 0]]);
        assert_eq!(cache.advance(1), [[3], [1]]);
        let real = cache.real_tokens(&device()).unwrap().int().try_into_vec_as::<i64>().unwrap();
        assert_eq!(real, [1, 1, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn unpadded_sequences_share_their_positions() {
        let mut cache = KvCache::new(vec![0, 0]);
        assert!(cache.is_empty());
        assert_eq!(cache.advance(2), [[0, 1]]);
        assert_eq!(cache.len(), 2);
        assert!(cache.real_tokens(&device()).is_none());
    }
}
