//! From samples to the tensors of one batch.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::{IGNORE_INDEX, Sample};

/// Batches are padded to a multiple of this many tokens, which keeps the number of shapes that a
/// GPU tunes its kernels for small and their rows aligned.
pub const PAD_TO_MULTIPLE_OF: usize = 8;

/// Samples side by side, padded on the right to a common length.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Token ids `[batch, seq]`. Padding is id 0, which every vocabulary has: no real token
    /// attends to it and no label asks for it.
    pub input_ids: Tensor<2, Int>,
    /// Labels `[batch, seq]`, not shifted; [`IGNORE_INDEX`] where there is no target.
    pub labels: Tensor<2, Int>,
    /// `[batch, seq]`, true at real tokens.
    pub attention_mask: Tensor<2, Bool>,
    /// Columns in which documents of each row begin, for
    /// [`CausalLm::forward_packed`](peft_llama::CausalLm::forward_packed); empty for a row of one
    /// document.
    pub document_starts: Vec<Vec<usize>>,
    /// Targets of the loss: labels that are not [`IGNORE_INDEX`] after the causal shift.
    pub target_tokens: usize,
    /// Real tokens, without padding.
    pub tokens: usize,
    /// Number of the batch in its epoch, from 0, whatever device it is on.
    pub index: usize,
    /// Targets of the whole optimizer step that the batch belongs to.
    pub step_targets: usize,
}

impl Batch {
    /// Puts one or more samples into a batch on `device`: the first of its epoch, and alone in its
    /// step.
    pub fn collate(samples: &[&Sample], device: &Device) -> Self {
        let longest = samples.iter().map(|sample| sample.input_ids.len()).max();
        let width = longest.unwrap_or(0).next_multiple_of(PAD_TO_MULTIPLE_OF);
        let shape = [samples.len(), width];

        let ids = samples
            .iter()
            .flat_map(|sample| padded(sample.input_ids.iter().copied().map(i64::from), 0, width));
        let labels = samples
            .iter()
            .flat_map(|sample| padded(sample.labels.iter().copied(), IGNORE_INDEX, width));
        let mask = samples
            .iter()
            .flat_map(|sample| padded(sample.input_ids.iter().map(|_| true), false, width));

        let target_tokens = samples.iter().map(|sample| sample.target_tokens()).sum();
        Self {
            input_ids: Tensor::from_data(TensorData::new(ids.collect(), shape), device),
            labels: Tensor::from_data(TensorData::new(labels.collect(), shape), device),
            attention_mask: Tensor::from_data(TensorData::new(mask.collect(), shape), device),
            document_starts: samples.iter().map(|s| s.document_starts.clone()).collect(),
            target_tokens,
            tokens: samples.iter().map(|sample| sample.input_ids.len()).sum(),
            index: 0,
            step_targets: target_tokens,
        }
    }
}

fn padded<T: Clone>(row: impl Iterator<Item = T>, pad: T, width: usize) -> impl Iterator<Item = T> {
    row.chain(std::iter::repeat(pad)).take(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: &[u32], labels: &[i64]) -> Sample {
        Sample::new(ids.to_vec(), labels.to_vec())
    }

    #[test]
    fn rows_are_padded_on_the_right_to_a_multiple_of_eight() {
        let short = sample(&[1, 5, 2], &[-100, 5, 2]);
        let long = sample(&[1, 3, 4, 5, 6, 7, 8, 9, 2], &[1, 3, 4, 5, 6, 7, 8, 9, 2]);
        let batch = Batch::collate(&[&short, &long], &Device::default());

        let ids: Vec<i64> = batch.input_ids.into_data().iter().collect();
        let labels: Vec<i64> = batch.labels.into_data().iter().collect();
        let mask: Vec<bool> = batch.attention_mask.into_data().iter().collect();
        let long_row = [1, 3, 4, 5, 6, 7, 8, 9, 2];
        assert_eq!(ids[..16], [&[1, 5, 2][..], &[0; 13]].concat());
        assert_eq!(ids[16..], [&long_row[..], &[0; 7]].concat());
        assert_eq!(labels[..16], [&[-100, 5, 2][..], &[-100; 13]].concat());
        assert_eq!(labels[16..], [&long_row[..], &[-100; 7]].concat());
        assert_eq!(mask[..16], [[true; 3].as_slice(), &[false; 13]].concat());
        assert_eq!(mask[16..], [[true; 9].as_slice(), &[false; 7]].concat());
        assert_eq!((batch.tokens, batch.target_tokens), (12, 10));
    }

    #[test]
    fn a_multiple_of_eight_is_not_padded() {
        let full = sample(&[1; 8], &[1; 8]);
        let batch = Batch::collate(&[&full], &Device::default());
        assert_eq!(batch.input_ids.dims(), [1, 8]);
    }
}
