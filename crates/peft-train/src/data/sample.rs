//! Token ids and labels of one training sequence.

/// The label of a token that takes no part in the loss.
pub const IGNORE_INDEX: i64 = -100;

/// One training sequence: a document, or several packed into one row by [`pack`](super::pack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The token ids.
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`, and not yet shifted: position `i` holds the id at `i`, or
    /// [`IGNORE_INDEX`].
    pub labels: Vec<i64>,
    /// Where documents begin, ascending; empty where there is only one.
    pub document_starts: Vec<usize>,
}

impl Sample {
    /// A sequence of one document. `labels` are as many as `input_ids`.
    pub fn new(input_ids: Vec<u32>, labels: Vec<i64>) -> Self {
        Self { input_ids, labels, document_starts: Vec::new() }
    }

    /// Labels the tokens that are `learnt`, as many as `input_ids`, and ignores the others.
    pub(super) fn masked(input_ids: Vec<u32>, learnt: impl IntoIterator<Item = bool>) -> Self {
        let label = |(&id, learnt)| if learnt { i64::from(id) } else { IGNORE_INDEX };
        let labels = input_ids.iter().zip(learnt).map(label).collect();
        Self::new(input_ids, labels)
    }

    /// The tokens the loss is taken over. The first label never counts: nothing precedes it, so
    /// nothing predicts it.
    pub fn target_tokens(&self) -> usize {
        let targets = self.labels.iter().skip(1);
        targets.filter(|label| **label != IGNORE_INDEX).count()
    }
}
