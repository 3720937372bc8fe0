//! The samples of a run.

use peft_llama::DecoderConfig;

use super::base::Base;
use super::problem;
use crate::Error;
use crate::config::{Problems, TrainingConfig, TypedConfig};
use crate::data::{
    DataOptions, DatasetConfig, Hub, PAD_TO_MULTIPLE_OF, Prepared, PreparedDataset, Sample,
};
use crate::report::{DataReport, DatasetReport};
use crate::run::hash_samples;

/// What is trained and measured on.
#[derive(Debug)]
pub(super) struct Data {
    pub train: Vec<Sample>,
    pub valid: Vec<Sample>,
    pub datasets: Vec<PreparedDataset>,
}

/// Reads and tokenizes the datasets of the run.
pub(super) fn read(
    typed: &TypedConfig,
    config: &TrainingConfig,
    base: &Base,
) -> Result<Data, Error> {
    let hub = Hub::from_env();
    let prepare = |key, datasets: &[DatasetConfig], options| {
        let prepared = crate::data::prepare(datasets, &base.tokenizer, &hub, &options);
        let prepared = prepared.and_then(|prepared| {
            within_vocabulary(&prepared, base.checkpoint.config()).map(|()| prepared)
        });
        prepared.map_err(|error| Problems(vec![problem(typed, key, error)]))
    };
    let options = DataOptions {
        sequence_len: config.sequence_len.map_or(0, Into::into),
        train_on_inputs: config.train_on_inputs,
        sample_packing: config.sample_packing,
        val_set_size: config.val_set_size,
        skip_bad_lines: config.skip_bad_lines,
        seed: config.seed,
        dataset_prepared_path: config.dataset_prepared_path.as_deref(),
    };
    let Prepared { train, mut valid, mut datasets } =
        prepare("datasets", &config.datasets, options.clone())?;
    if !config.test_datasets.is_empty() {
        let options = DataOptions { sample_packing: false, val_set_size: 0.0, ..options };
        let test = prepare("test_datasets", &config.test_datasets, options)?;
        valid = test.train;
        datasets.extend(test.datasets);
    }
    let data = Data { train, valid, datasets };
    let asked_for = config.train_config().asks_for_validation();
    match data.none_held_back(config.val_set_size).zip(asked_for) {
        None => Ok(data),
        Some((none, (key, value))) => {
            let message = format!("`{key}` is {value}, but {none}");
            let hint = format!("raise `val_set_size`, or leave `{key}` out");
            Err(Problems(vec![typed.problem(key, message, Some(hint))]).into())
        }
    }
}

/// A tokenizer may know tokens that the model has no embedding for.
fn within_vocabulary(prepared: &Prepared, config: &DecoderConfig) -> Result<(), Error> {
    let samples = prepared.train.iter().chain(&prepared.valid);
    let largest = samples.flat_map(|sample| sample.input_ids.iter().copied()).max().unwrap_or(0);
    match (largest as usize) < config.vocab_size {
        true => Ok(()),
        false => Err(Error::Vocabulary { token: largest, vocab_size: config.vocab_size }),
    }
}

impl Data {
    /// Tokens of the longest row trained on, padding included.
    pub fn longest(&self) -> usize {
        let lengths = self.train.iter().map(|sample| sample.input_ids.len());
        lengths.max().unwrap_or(0).next_multiple_of(PAD_TO_MULTIPLE_OF)
    }

    /// What `run.json` says of it.
    pub fn report(&self) -> DataReport {
        let dataset = |dataset: &PreparedDataset| DatasetReport {
            path: dataset.path.clone(),
            samples: dataset.samples,
            tokens: dataset.tokens,
            truncated: dataset.truncated,
            dropped: dataset.dropped,
            skipped: dataset.skipped,
        };
        DataReport {
            train_samples: self.train.len(),
            valid_samples: self.valid.len(),
            valid_sha256: hash_samples(&self.valid),
            datasets: self.datasets.iter().map(dataset).collect(),
        }
    }

    /// What was lost on the way, and what was not held back.
    pub fn notes(&self, val_set_size: f64) -> Vec<String> {
        let lost = |dataset: &PreparedDataset| {
            let PreparedDataset { path, skipped, truncated, dropped, .. } = dataset;
            let parts = [
                (*skipped, "left out as malformed"),
                (*truncated, "cut at `sequence_len`"),
                (*dropped, "dropped because their answers lie beyond it"),
            ];
            let parts = parts.into_iter().filter(|(count, _)| *count > 0);
            let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
            (!parts.is_empty()).then(|| format!("{path}: {}", parts.join(", ")))
        };
        let none = self.none_held_back(val_set_size);
        let none = none.map(|none| format!("{none}: nothing is measured"));
        self.datasets.iter().filter_map(lost).chain(none).collect()
    }

    /// A share of few samples may be none.
    fn none_held_back(&self, val_set_size: f64) -> Option<String> {
        let samples: usize = self.datasets.iter().map(|dataset| dataset.samples).sum();
        let is_none = val_set_size > 0.0 && self.valid.is_empty();
        is_none.then(|| format!("`val_set_size` = {val_set_size} of {samples} samples is none"))
    }
}
