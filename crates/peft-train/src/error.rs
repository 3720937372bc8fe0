//! What can go wrong in a run, told so that a person can act on it.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
};

use burn::tensor::Tensor;

use crate::data::{DataFormat, LineProblem};

/// An error of this crate. [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },

    /// A value could not be written as JSON.
    #[error("cannot write `{}` as JSON: {source}", path.display())]
    Serialize {
        /// The file it was meant for.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },

    /// A line of a dataset is malformed.
    #[error("{}:{line}: {problem}", path.display())]
    BadLine {
        /// The dataset.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },

    /// The keys of a dataset's first object belong to no known format.
    #[error(
        "{}:{line}: no known dataset format has these keys: found {}; known are {}",
        path.display(), found.join(", "), known_formats()
    )]
    UnknownFormat {
        /// The dataset.
        path: PathBuf,
        /// The line that was looked at, counted from 1.
        line: usize,
        /// The keys of its object.
        found: Vec<String>,
    },

    /// A dataset holds no usable line.
    #[error("`{}` holds no example ({skipped} malformed lines were skipped)", path.display())]
    NoExamples {
        /// The dataset.
        path: PathBuf,
        /// Malformed lines left out.
        skipped: usize,
    },

    /// The tokenizer refused a text.
    #[error("cannot tokenize the {part} of example {example}: {source}")]
    Tokenize {
        /// The example's number in the dataset, counted from 1 without blank and skipped lines.
        example: usize,
        /// `prompt` or `completion`.
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

    /// A method refused its settings, the model or a record.
    #[error(transparent)]
    Method(#[from] peft_core::Error),

    /// The model or its tokenizer failed.
    #[error(transparent)]
    Model(#[from] peft_llama::Error),

    /// A checkpoint is damaged or belongs to another run.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A value could not be read back from the device.
    #[error("the device failed: {reason}")]
    Device {
        /// Its own words.
        reason: String,
    },

    /// A method's schedules were made for another run.
    #[error("the method is set up for {method} steps, but this run has {run}")]
    TotalSteps {
        /// Steps of the method's schedules.
        method: usize,
        /// Steps of the run, from its data, batches and epochs.
        run: usize,
    },

    /// A merged model says something else than the trained one.
    #[error(
        "the merged model's logits differ from the trained one's by {difference:.1e} of the \
         largest, more than {bound:.0e}"
    )]
    MergeMismatch {
        /// Largest difference, as a share of the largest logit.
        difference: f32,
        /// The largest share accepted.
        bound: f32,
    },

    /// A picture could not be drawn.
    #[error("cannot draw `{}`: {reason}", path.display())]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// The Learner stopped.
    #[error("training stopped: {reason}")]
    Training {
        /// Its own words.
        reason: String,
    },

    /// The run was given more than one device.
    #[error("this run was given several devices, and a method's step runs on one")]
    MultipleDevices,

    /// A line of `metrics.jsonl` has no step, so a resumed run cannot tell where to go on.
    #[error(
        "{}:{line}: expected a JSON object with an unsigned integer `step`: {source}",
        path.display()
    )]
    BadMetricsLine {
        /// The file.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// Why it could not be read.
        source: serde_json::Error,
    },
}

impl Error {
    /// What to do about the error, in one sentence, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => io_hint(source.kind()).map(str::to_owned),
            Self::BadLine { .. } => {
                Some("correct the line, or leave such lines out with `--skip-bad-lines`".into())
            }
            Self::UnknownFormat { .. } => Some(
                "rename the keys, or name the dataset's `type` if this line is an odd one".into(),
            ),
            Self::NoExamples { skipped: 0, .. } => {
                Some("write one JSON object per line into the file".into())
            }
            Self::NoExamples { .. } => Some(
                "run without `--skip-bad-lines` to see what is wrong with the first line".into(),
            ),
            Self::NoSamples { .. } => {
                Some("raise `sequence_len` beyond the length of the prompts".into())
            }
            Self::BadMetricsLine { .. } => {
                Some("delete the line, or start the run in another `output_dir`".into())
            }
            Self::Method(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Checkpoint { .. } => Some(
                "resume with the settings, data and base model the run was started with, or from \
                 an earlier checkpoint"
                    .into(),
            ),
            Self::Device { .. } => {
                Some("if it ran out of memory, lower the batch size or the sequence length".into())
            }
            Self::TotalSteps { run, .. } => {
                Some(format!("set the method's `total_steps` to {run}: schedules depend on it"))
            }
            Self::MergeMismatch { .. } => {
                Some("nothing was written: resume from the last checkpoint, or train in f32".into())
            }
            Self::MultipleDevices => Some("train on a single device".into()),
            Self::Serialize { .. }
            | Self::Tokenize { .. }
            | Self::Training { .. }
            | Self::Plot { .. } => None,
        }
    }

    /// Reads a value back from the device.
    pub(crate) fn scalar(tensor: Tensor<1>) -> Result<f32, Self> {
        tensor.try_into_scalar().map_err(|e| Self::Device { reason: e.to_string() })
    }

    /// Makes an [`Error::Checkpoint`].
    pub(crate) fn checkpoint(path: &Path, reason: impl ToString) -> Self {
        Self::Checkpoint { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Makes an [`Error::Io`] of a failed read of `path`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io("read", path)
    }

    /// Makes an [`Error::Io`] of a failed write to `path`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io("write", path)
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn io_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::NotFound => Some("check the path: this file or its folder does not exist"),
        io::ErrorKind::PermissionDenied => Some("check the permissions of the file and its folder"),
        io::ErrorKind::StorageFull => Some("free some space on the disk, then resume the run"),
        io::ErrorKind::IsADirectory => Some("give a file, not a folder"),
        _ => None,
    }
}

fn known_formats() -> String {
    DataFormat::ALL
        .map(|format| format!("{format} ({})", format.required_keys().join(", ")))
        .join(", ")
}
