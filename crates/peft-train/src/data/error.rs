//! What can go wrong between a dataset and its batches.

#[cfg(test)]
mod texts;

use std::{error::Error as StdError, path::PathBuf};

use super::read::EXTENSIONS;
use super::{DataFormat, Place, Problem};

/// An error of the data. [`DataError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An object of a dataset is malformed.
    #[error("{}{place}: {problem}", path.display())]
    BadExample {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: Place,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The keys of a dataset's first object belong to no known format.
    #[error(
        "{}{place}: no known dataset format has these keys: found {}; known are {}",
        path.display(), found.join(", "), known_formats()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The object that was looked at.
        place: Place,
        /// Its keys.
        found: Vec<String>,
    },
    /// A dataset holds no usable object.
    #[error("`{}` holds no example ({skipped} left out as malformed)", path.display())]
    NoExamples {
        /// The file.
        path: PathBuf,
        /// Malformed objects left out.
        skipped: usize,
    },
    /// A file's extension says nothing about how to read it.
    #[error("`{}`: expected a file ending in .{}", path.display(), EXTENSIONS.join(", ."))]
    FileType {
        /// The file.
        path: PathBuf,
    },
    /// A file is no whole JSON array or parquet file.
    #[error("`{}` cannot be read: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// A folder or dataset has no file for what was asked.
    #[error("`{dataset}` has no data file for split `{split}`: {reason}")]
    NoDataFiles {
        /// The folder, or the dataset's name on the hub.
        dataset: String,
        /// The split.
        split: String,
        /// What was found instead.
        reason: String,
    },
    /// A dataset is not in the Hugging Face cache, or not all of it.
    #[error("dataset `{repo}` (revision {revision}) is not in the cache `{}`: {reason}", cache.display())]
    NotCached {
        /// The dataset's name.
        repo: String,
        /// Its revision.
        revision: String,
        /// The cache.
        cache: PathBuf,
        /// What is missing.
        reason: String,
        /// Why it was not fetched.
        instead: &'static str,
    },
    /// A dataset could not be fetched from the hub.
    #[error("cannot fetch dataset `{repo}` (revision {revision}): {reason}")]
    Fetch {
        /// The dataset's name.
        repo: String,
        /// Its revision.
        revision: String,
        /// The client's reason.
        reason: String,
    },
    /// A setting of a dataset is impossible.
    #[error("dataset `{dataset}`: `{key}` is {found}, expected {expected}")]
    Setting {
        /// The dataset's path.
        dataset: String,
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// More is to be held back for validation than there is.
    #[error(
        "`val_set_size` is {found}, expected a fraction below 1, or a number of samples below {samples}"
    )]
    ValSetSize {
        /// The value.
        found: f64,
        /// Samples there are.
        samples: usize,
    },
    /// The tokenizer refused a text.
    #[error("cannot tokenize the {part} of example {example}: {source}")]
    Tokenize {
        /// Its number among those given, counted from 1.
        example: usize,
        /// `prompt`, `completion` or `conversation`.
        part: &'static str,
        /// The tokenizer's reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// An example of a file was refused by the tokenizer, or a conversation by its chat template.
    #[error("{}{place}: cannot tokenize the {part}: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: Place,
        /// `prompt`, `completion` or `conversation`.
        part: &'static str,
        /// The tokenizer's reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No sample keeps a token to learn from.
    #[error(
        "none of the {dropped} examples has a completion token within \
         `sequence_len` = {sequence_len}"
    )]
    NoSamples {
        /// The limit, in tokens.
        sequence_len: usize,
        /// Examples dropped.
        dropped: usize,
    },
    /// An error of one dataset among several, where it does not name its file.
    #[error("dataset `{dataset}`: {source}")]
    Dataset {
        /// The dataset's path.
        dataset: String,
        /// The error.
        source: Box<DataError>,
    },
}

impl DataError {
    /// What to do about the error, in one sentence, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::BadExample { .. } => {
                "correct it, or leave malformed objects out with `skip_bad_lines`"
            }
            Self::UnknownFormat { .. } => {
                "say by `columns` which columns stand for the format's keys, or name the dataset's \
                 `type` if this object is an odd one"
            }
            Self::NoExamples { skipped: 0, .. } => "write one JSON object per line into the file",
            Self::NoExamples { .. } => {
                "run without `skip_bad_lines` to see what is wrong with the first line"
            }
            Self::FileType { .. } => "convert the file, or correct its extension",
            Self::Damaged { .. } => "download or write the file again",
            Self::NoDataFiles { .. } => {
                "name one of its splits as `split`, one of its folders as `name`, or a file as `path`"
            }
            Self::NotCached { instead, .. } => instead,
            Self::Fetch { .. } => {
                "check the name, the network, and for a gated dataset HF_TOKEN; set HF_ENDPOINT for \
                 a mirror"
            }
            Self::NoSamples { .. } => "raise `sequence_len` beyond the length of the prompts",
            Self::Dataset { source, .. } => return source.hint(),
            Self::Tokenize { source, .. } => return of_tokenizer(&**source),
            Self::Refused { source, .. } => {
                let hint = of_tokenizer(&**source);
                if !is_of_example(&**source) {
                    return hint;
                }
                let hint = hint.as_deref().unwrap_or("correct it");
                return Some(format!("{hint}, or leave such examples out with `skip_bad_lines`"));
            }
            Self::Setting { key: "columns", .. } => {
                "write `{ instruction = \"query\" }`: the format's key first, then the column's name"
            }
            Self::Setting { .. } => return None,
            Self::ValSetSize { .. } => "hold back fewer samples, or measure on `test_datasets`",
        };
        Some(hint.into())
    }
}

fn of_tokenizer(source: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    source.downcast_ref::<peft_llama::Error>().and_then(peft_llama::Error::hint)
}

/// Whether a tokenizer's reason to refuse an example is the example, and not the chat template or that there
/// is none.
pub(super) fn is_of_example(source: &(dyn StdError + Send + Sync + 'static)) -> bool {
    use peft_llama::Error::{ChatTemplateUnset, UnstableChatTemplate};
    let error = source.downcast_ref::<peft_llama::Error>();
    !matches!(error, Some(ChatTemplateUnset | UnstableChatTemplate { .. }))
}

fn known_formats() -> String {
    DataFormat::ALL
        .map(|format| format!("{format} ({})", format.required_keys().join(", ")))
        .join(", ")
}
