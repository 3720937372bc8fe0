//! The samples of a run.

use peft_llama::DecoderConfig;

use super::base::Base;
use super::problem;
use crate::Error;
use crate::config::{Problems, TrainingConfig, TypedConfig};
use crate::data::{
    DataOptions, DatasetConfig, Hub, PAD_TO_MULTIPLE_OF, Prepared, PreparedDataset, Sample,
};

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
    Ok(Data { train, valid, datasets })
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

    /// What was lost on the way.
    pub fn notes(&self) -> Vec<String> {
        let lost = |dataset: &PreparedDataset| {
            let PreparedDataset { path, skipped, truncated, dropped, .. } = dataset;
            let parts = [
                (*skipped, "malformed lines left out"),
                (*truncated, "samples cut at `sequence_len`"),
                (*dropped, "dropped because their answers lie beyond it"),
            ];
            let parts = parts.into_iter().filter(|(count, _)| *count > 0);
            let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
            (!parts.is_empty()).then(|| format!("{path}: {}", parts.join(", ")))
        };
        self.datasets.iter().filter_map(lost).collect()
    }
}
