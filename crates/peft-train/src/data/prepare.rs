//! From a run's settings to its samples.

use std::path::{Path, PathBuf};

use peft_llama::Tokenizer;

use super::cache::{self, Entry, Key};
use super::error::is_of_example;
use super::tokenize::{Refusal, tokenize_or};
use super::{
    DataError, DataFormat, Dataset, DatasetConfig, Hub, Origin, ReadOptions, Sample,
    TokenizeOptions, files, mix, pack, read_dataset,
};
use crate::Error;

/// How the datasets of a run become samples.
#[derive(Clone, Debug)]
pub struct DataOptions<'a> {
    /// The longest sequence, in tokens.
    pub sequence_len: usize,
    /// Whether prompts are learnt, too.
    pub train_on_inputs: bool,
    /// Whether several samples share a row of `sequence_len`.
    pub sample_packing: bool,
    /// What is held back for validation: below 1 a fraction of all samples, else their number.
    pub val_set_size: f64,
    /// Whether malformed objects are left out and counted instead of being an error.
    pub skip_bad_lines: bool,
    /// Seed of every choice.
    pub seed: u64,
    /// Folder in which tokenized datasets are kept for the next run; `None` keeps none.
    pub dataset_prepared_path: Option<&'a Path>,
}

/// The samples of a run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What an epoch trains on, packed if asked for.
    pub train: Vec<Sample>,
    /// What was held back for validation, never packed.
    pub valid: Vec<Sample>,
    /// What became of each dataset.
    pub datasets: Vec<PreparedDataset>,
}

/// What became of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedDataset {
    /// Its path, as configured.
    pub path: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// The format given or found.
    pub format: DataFormat,
    /// Samples, before any is held back, repeated or left out by its weight.
    pub samples: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Malformed objects left out.
    pub skipped: usize,
    /// Samples cut at `sequence_len`.
    pub truncated: usize,
    /// Examples left out because nothing of their answers was left to learn.
    pub dropped: usize,
    /// Whether it was tokenized by an earlier run.
    pub cached: bool,
}

/// Reads, tokenizes, mixes and packs `datasets`. The result depends on nothing but the arguments
/// and the files they name.
///
/// # Errors
/// A [`DataError`] for a dataset that is not to be found, read or tokenized, or an impossible
/// setting; [`Error::Io`].
pub fn prepare(
    datasets: &[DatasetConfig],
    tokenizer: &Tokenizer,
    hub: &Hub,
    options: &DataOptions<'_>,
) -> Result<Prepared, Error> {
    datasets.iter().try_for_each(DatasetConfig::check)?;
    let definition = tokenizer.definition()?;
    let (mut parts, mut reports) = (Vec::new(), Vec::new());
    for config in datasets {
        let files = find(config, hub)?;
        let source = Source { config, files: &files, options };
        let (entry, cached) = source.entry(tokenizer, &definition)?;
        reports.push(report(config, &files, &entry, cached));
        parts.push(entry.tokenized.samples);
    }
    let valid = mix::hold_back(&mut parts, options.val_set_size, options.seed)?;
    let mut train = Vec::new();
    for (index, (samples, config)) in parts.into_iter().zip(datasets).enumerate() {
        train.extend(mix::weighted(samples, config.weight, options.seed, index));
    }
    if options.sample_packing {
        train = pack(train, options.sequence_len, options.seed);
    }
    Ok(Prepared { train, valid, datasets: reports })
}

/// The files of the dataset that `config` names: on this machine, else on the hub.
fn find(config: &DatasetConfig, hub: &Hub) -> Result<Vec<PathBuf>, Error> {
    let path = Path::new(&config.path);
    match (path.is_file(), path.is_dir()) {
        (true, _) => Ok(vec![path.into()]),
        (_, true) => files::in_folder(path, config),
        _ if is_hub_name(&config.path) => hub.dataset(config),
        _ => Err(Error::read(path)(std::io::ErrorKind::NotFound.into())),
    }
}

/// Whether `path` has the form `org/name`, which no file with an extension has.
pub(crate) fn is_hub_name(path: &str) -> bool {
    let is_name = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|first| first.is_ascii_alphanumeric() || first == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let of_hub = |(org, name): (&str, &str)| is_name(org) && is_name(name) && !has_extension(name);
    path.split_once('/').is_some_and(of_hub)
}

/// `train.csv` has one; `mt-0.1` and `v1.0-json` have none.
fn has_extension(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| {
        extension.starts_with(|c: char| c.is_ascii_alphabetic())
            && extension.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// A dataset and how it is read and tokenized.
struct Source<'a> {
    config: &'a DatasetConfig,
    files: &'a [PathBuf],
    options: &'a DataOptions<'a>,
}

impl Source<'_> {
    /// The tokenized dataset, and whether an earlier run left it.
    fn entry(&self, tokenizer: &Tokenizer, definition: &str) -> Result<(Entry, bool), Error> {
        let Some(dir) = self.options.dataset_prepared_path else {
            return Ok((self.make(tokenizer)?, false));
        };
        let path = dir.join(format!("{}.safetensors", self.key(definition)?));
        if let Some(entry) = cache::load(&path) {
            return Ok((entry, true));
        }
        let entry = self.make(tokenizer)?;
        std::fs::create_dir_all(dir).map_err(Error::write(dir))?;
        cache::store(&path, &entry)?;
        Ok((entry, false))
    }

    fn make(&self, tokenizer: &Tokenizer) -> Result<Entry, Error> {
        let dataset = read_dataset(self.files, &self.read_options())?;
        let Dataset { examples, origins, format, mut skipped } = dataset;
        let refused = |index: usize, Refusal { part, source }| {
            if self.options.skip_bad_lines && is_of_example(&*source) {
                skipped += 1;
                return Ok(());
            }
            let Origin { path, place } = &origins[index];
            Err(DataError::Refused { path: path.to_path_buf(), place: *place, part, source })
        };
        let tokenized = tokenize_or(&examples, tokenizer, self.tokenize_options(), refused);
        let tokenized = tokenized.map_err(|error| self.name(error, skipped))?;
        Ok(Entry { tokenized, format, skipped })
    }

    /// Says which dataset an error is about that does not name its file.
    fn name(&self, error: Error, skipped: usize) -> Error {
        let dataset = self.config.path.clone();
        match error {
            Error::Data(DataError::NoSamples { dropped: 0, .. }) => {
                DataError::NoExamples { path: dataset.into(), skipped }.into()
            }
            Error::Data(source @ DataError::NoSamples { .. }) => {
                DataError::Dataset { dataset, source: Box::new(source) }.into()
            }
            other => other,
        }
    }

    fn key(&self, definition: &str) -> Result<String, Error> {
        let mut key = Key::new();
        key.add(definition.as_bytes());
        key.add(format!("{:?} {:?}", self.read_options(), self.tokenize_options()).as_bytes());
        for file in self.files {
            key.add_file(file)?;
        }
        Ok(key.finish())
    }

    fn read_options(&self) -> ReadOptions {
        ReadOptions {
            format: self.config.format,
            columns: self.config.columns.clone(),
            skip_bad_lines: self.options.skip_bad_lines,
        }
    }

    fn tokenize_options(&self) -> TokenizeOptions {
        let DataOptions { sequence_len, train_on_inputs, .. } = *self.options;
        TokenizeOptions { sequence_len, train_on_inputs }
    }
}

fn report(
    config: &DatasetConfig,
    files: &[PathBuf],
    entry: &Entry,
    cached: bool,
) -> PreparedDataset {
    let Entry { tokenized, format, skipped } = entry;
    PreparedDataset {
        path: config.path.clone(),
        files: files.to_vec(),
        format: *format,
        samples: tokenized.samples.len(),
        tokens: tokenized.samples.iter().map(|sample| sample.input_ids.len()).sum(),
        skipped: *skipped,
        truncated: tokenized.truncated,
        dropped: tokenized.dropped,
        cached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_hub_are_told_from_paths() {
        for name in [
            "org/name",
            "tatsu-lab/alpaca",
            "_a/v1.0-json",
            "a/myjson",
            "mistralai/Mistral-7B-v0.1",
        ] {
            assert!(is_hub_name(name), "{name}");
        }
        for path in [
            "name",
            "data/train.jsonl",
            "data/chats.csv",
            "data/archive.7z.gz",
            "./data",
            "/data/x",
            "a/b/c",
            "../x",
            "a/",
            "a b/c",
        ] {
            assert!(!is_hub_name(path), "{path}");
        }
    }
}
