//! What a run was trained and measured on, and what was lost on the way there.

use serde::{Deserialize, Serialize};

/// What a run was trained and measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// Rows of an epoch: samples, or several packed into one.
    pub train_samples: usize,
    /// Samples held back, to measure on.
    pub valid_samples: usize,
    /// SHA-256 of the held-back samples' ids, labels and borders.
    pub valid_sha256: String,
    /// What became of each dataset.
    pub datasets: Vec<DatasetReport>,
}

/// What became of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// Its path, as configured.
    pub path: String,
    /// Samples, before any is held back, repeated or left out by its weight.
    pub samples: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Samples cut at `sequence_len`.
    pub truncated: usize,
    /// Examples left out because nothing of their answers was left to learn.
    pub dropped: usize,
    /// Malformed lines left out.
    pub skipped: usize,
}

impl DataReport {
    /// What is said of it, and how much.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let rows = [("rows of an epoch", self.train_samples), ("held back", self.valid_samples)];
        let rows = rows.map(|(key, count)| (key.to_string(), count.to_string()));
        rows.into_iter().chain(self.datasets.iter().map(DatasetReport::fact)).collect()
    }
}

impl DatasetReport {
    fn fact(&self) -> (String, String) {
        let lost = [
            (self.truncated, "cut at `sequence_len`"),
            (self.dropped, "dropped because their answers lie beyond it"),
            (self.skipped, "left out as malformed"),
        ];
        let lost = lost.into_iter().filter(|(count, _)| *count > 0);
        let parts = [(self.samples, "samples"), (self.tokens, "tokens")].into_iter().chain(lost);
        let parts = parts.map(|(count, what)| format!("{count} {what}"));
        (self.path.clone(), parts.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn report() -> DataReport {
        let dataset = DatasetReport {
            path: "data.jsonl".into(),
            samples: 98,
            tokens: 4000,
            truncated: 2,
            dropped: 0,
            skipped: 1,
        };
        DataReport {
            train_samples: 90,
            valid_samples: 8,
            valid_sha256: "e3".into(),
            datasets: vec![dataset],
        }
    }

    #[test]
    fn what_was_lost_is_told_and_what_was_not_is_not() {
        let dataset = "98 samples, 4000 tokens, 2 cut at `sequence_len`, 1 left out as malformed";
        let expected = [("rows of an epoch", "90"), ("held back", "8"), ("data.jsonl", dataset)];
        let facts = report().facts();
        assert!(facts.iter().map(|(key, fact)| (&**key, &**fact)).eq(expected), "{facts:?}");
    }
}
