//! What can go wrong in a run, told so that a person can act on it.

#[cfg(test)]
mod texts;

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use burn::tensor::Tensor;

use crate::config::Problems;
use crate::data::DataError;
use crate::folder::{ADAPTER, CONFIG, FINAL};
use crate::report::RunReport;

/// An error of this crate. [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write` or `remove`.
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

    /// A configuration, or what it names, is not in order.
    #[error("{0}")]
    Config(Problems),

    /// A tokenizer knows tokens that the model has no embedding for.
    #[error("token {token} of the data is not below the model's vocabulary size {vocab_size}")]
    Vocabulary {
        /// The largest token id of the data.
        token: u32,
        /// Number of token ids the model knows.
        vocab_size: usize,
    },

    /// An adapter does not fit the base model.
    #[error("{}: does not fit the base model: {source}", path.display())]
    AdapterMisfit {
        /// Folder of the adapter.
        path: PathBuf,
        /// What does not fit.
        source: peft_core::Error,
    },

    /// A folder holds nothing that can be inspected.
    #[error("`{}` is no model, adapter, checkpoint or run", path.display())]
    NothingToInspect {
        /// The folder.
        path: PathBuf,
    },

    /// A model was to fit a base model.
    #[error("`{}` is a model, and has no base model to fit", path.display())]
    NoBase {
        /// Its folder.
        path: PathBuf,
    },

    /// No checkpoint of a run is whole.
    #[error("no checkpoint in `{}` is whole:{}", path.display(), listed(reasons))]
    AllDamaged {
        /// The output folder.
        path: PathBuf,
        /// What is wrong with each, the newest first.
        reasons: Vec<Error>,
    },

    /// A run is said to be completed, and something it writes is not there.
    #[error("the run in `{}` is completed, but its `{missing}` is missing", path.display())]
    ResultMissing {
        /// The output folder.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },

    /// A dataset, or what became of it.
    #[error(transparent)]
    Data(#[from] DataError),

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

    /// A run was to begin where there is the work of another.
    #[error(
        "the output folder `{}` holds another run, such as `{}`",
        path.display(), found.display()
    )]
    OutputDirInUse {
        /// The output folder.
        path: PathBuf,
        /// The newest checkpoint in it, or its result.
        found: PathBuf,
    },

    /// A run was to replace the base model that it trains.
    #[error("the base model `{}` is among what this run would remove", path.display())]
    BaseReplaced {
        /// Folder of the base model.
        path: PathBuf,
    },

    /// A run that ended left no checkpoint to go on from.
    #[error("the run in `{}` has ended and left no checkpoint", path.display())]
    NothingToResume {
        /// The output folder.
        path: PathBuf,
    },

    /// A run that is alive works in the same output folder.
    #[error("another run is at work in the output folder `{}`", path.display())]
    OutputDirLocked {
        /// The output folder.
        path: PathBuf,
    },

    /// A checkpoint could not be written.
    #[error(
        "the checkpoint after step {steps} was not written: {source}{}",
        last_good(last.as_deref())
    )]
    Unsaved {
        /// Optimizer steps taken.
        steps: usize,
        /// Why not.
        source: Box<Error>,
        /// The checkpoint before it.
        last: Option<PathBuf>,
    },

    /// The numbers of a run are no longer finite.
    #[error("training diverged at step {step}: {reason}{}", last_good(last.as_deref()))]
    Diverged {
        /// The step, counted from 0.
        step: usize,
        /// What is not finite.
        reason: String,
        /// The last checkpoint, written when all was finite.
        last: Option<PathBuf>,
    },

    /// A trained model could not be merged.
    #[error("the run is done, but {source}{}", last_good(checkpoint.as_deref()))]
    Unmerged {
        /// Why not.
        source: Box<Error>,
        /// The newest checkpoint, if one could be written: that of the last step.
        checkpoint: Option<PathBuf>,
        /// Folder of the adapter's file, if it could be written.
        adapter: Option<PathBuf>,
    },

    /// What a run has trained could not be written.
    #[error("the run is done, but {source}{}", last_good(checkpoint.as_deref()))]
    Unwritten {
        /// Why not.
        source: Box<Error>,
        /// The newest checkpoint, if one could be written: that of the last step.
        checkpoint: Option<PathBuf>,
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

    /// Validations were asked for, but not on what.
    #[error("`{key}` is {value}, but there is nothing to validate on")]
    NoValidation {
        /// The setting that asked for them.
        key: &'static str,
        /// Its value.
        value: NonZeroUsize,
    },

    /// A run may not end before its method has decided all that it decides at certain steps.
    #[error("`early_stopping_patience` is no setting of `{method}`, which must take all its steps")]
    EarlyStopping {
        /// The method.
        method: &'static str,
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

    /// The devices of a run are not as many as its configuration says.
    #[error("the run has {devices} devices, and `data_parallel_size` is {expected}")]
    DataParallelSize {
        /// How many there are.
        devices: usize,
        /// How many the configuration counts on.
        expected: usize,
    },

    /// The model is not on the first device of its run.
    #[error("the model is on {model}, and the first device of the run is {first}")]
    MainDevice {
        /// Where the model is.
        model: String,
        /// Where its run begins.
        first: String,
    },

    /// Some device would have nothing to do.
    #[error("there are {samples} training samples for {devices} devices")]
    FewSamples {
        /// Training samples.
        samples: usize,
        /// Devices that share them.
        devices: usize,
    },

    /// The Learner was told to step each parameter where its gradient is.
    #[error("the optimizer was to be sharded over devices, and a method's step runs on one")]
    ShardedOptimizer,

    /// A file is no report of a run.
    #[error("`{}` is no report of a run: {source}", path.display())]
    BadReport {
        /// The file.
        path: PathBuf,
        /// Why it could not be read.
        source: serde_json::Error,
    },

    /// A line of `metrics.jsonl` is damaged: it does not say where in the run it was written.
    #[error(
        "{}:{line}: expected a JSON object with unsigned integers `step` and `windows`: {source}",
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

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

impl Error {
    /// What to do about the error, in one sentence, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, source, .. } => {
                let is_absent = source.kind() == io::ErrorKind::NotFound;
                let hint = is_absent.then(|| folder_hint(path)).flatten();
                hint.or_else(|| io_hint(source.kind()).map(str::to_owned))
            }
            Self::Config(problems) => problems.hint(),
            Self::AdapterMisfit { .. } => {
                Some("name the base model the adapter was trained on".into())
            }
            Self::NothingToInspect { .. } => Some(
                "give a folder with config.json (a model), adapter_config.json or \
                 losia_blocks.safetensors (an adapter), manifest.json (a checkpoint) or run.json \
                 (a run)"
                    .into(),
            ),
            Self::NoBase { .. } => {
                Some("leave the base out, or name an adapter, checkpoint or run to inspect".into())
            }
            Self::AllDamaged { .. } => {
                Some("bring a copy of one back, or train again, from `final/` if that is there".into())
            }
            Self::ResultMissing { .. } => Some(
                "`burn-peft resume` goes on from the run's last checkpoint, and writes it again"
                    .into(),
            ),
            Self::Vocabulary { .. } => {
                Some("use the tokenizer published with the model: this one has more tokens".into())
            }
            Self::Data(error) => error.hint(),
            Self::BadReport { .. } => {
                Some("give the folder of a run; a report of another release may differ".into())
            }
            Self::BadMetricsLine { .. } => {
                Some("delete the line, or resume the run, which cuts the log there".into())
            }
            Self::Method(error @ peft_core::Error::File { path, .. }) => {
                folder_hint(path).or_else(|| error.hint())
            }
            Self::Method(error) => error.hint(),
            Self::Model(error @ peft_llama::Error::Io { path, .. }) => {
                folder_hint(path).or_else(|| error.hint())
            }
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
            Self::NoValidation { key, .. } => {
                Some(format!("give `test_datasets` or a `val_set_size`, or leave `{key}` out"))
            }
            Self::EarlyStopping { .. } => {
                Some("leave it out: the checkpoint with the lowest validation loss is kept".into())
            }
            Self::OutputDirInUse { .. } => Some(
                "resume that run, choose another `output_dir`, or set `overwrite_output_dir`, which \
                 removes it"
                    .into(),
            ),
            Self::BaseReplaced { .. } => Some("choose another `output_dir`".into()),
            Self::NothingToResume { .. } => Some(
                "train on from its `final/` as `base_model`, or merge its `adapter/` into the base".into(),
            ),
            Self::OutputDirLocked { .. } => {
                Some("wait until it has ended, stop it, or choose another `output_dir`".into())
            }
            Self::Unsaved { last: Some(_), .. } => {
                Some("make room on the disk or the folder writable, then resume the run".into())
            }
            Self::Unsaved { last: None, .. } => Some(
                "make room on the disk or the folder writable, then start the run again".into(),
            ),
            Self::Diverged { last, .. } => {
                let again = "lower the learning rate, clip with `max_grad_norm`, use bf16 instead of f16, look \
                             at the data, and start again in another `output_dir`";
                let from = "; a resume keeps the settings, and comes to the same point unless the data was \
                            to blame; the checkpoint can also be merged, to start from";
                Some(format!("{again}{}", if last.is_some() { from } else { "" }))
            }
            Self::Unmerged { adapter: Some(adapter), .. } => {
                Some(format!("load the adapter in `{}` on the base model", adapter.display()))
            }
            Self::Unmerged { source, .. } => source.hint(),
            Self::Unwritten { checkpoint: Some(_), .. } => Some(
                "free disk space or bring back what is named, then resume the run: it writes what is \
                 missing"
                    .into(),
            ),
            Self::Unwritten { source, .. } => source.hint(),
            Self::MergeMismatch { .. } => Some("train in f32, or keep the adapter".into()),
            Self::DataParallelSize { devices, .. } => {
                Some(format!("set `data_parallel_size` to {devices}"))
            }
            Self::MainDevice { .. } => {
                Some("load the model on the first device of the list".into())
            }
            Self::FewSamples { .. } => Some("train on fewer devices".into()),
            Self::ShardedOptimizer => Some("use `MultiDeviceOptim::OptimMainDevice`".into()),
            Self::Training { .. } => Some(
                "if the device ran out of memory, lower `micro_batch_size` or `sequence_len`; the \
                 run can be resumed from its last checkpoint"
                    .into(),
            ),
            Self::Serialize { .. } | Self::Plot { .. } => None,
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

    /// Makes an [`Error::Io`] of a failed removal of `path`.
    pub(crate) fn remove(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io("remove", path)
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The end of a message: what went wrong, a line each.
fn listed(errors: &[Error]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

/// The end of a message: what is still there.
fn last_good(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("; the last good checkpoint is `{}`", path.display()),
        None => "; there is no checkpoint before it".into(),
    }
}

/// What to do where the file `path` is absent because its folder is a run, or is none.
fn folder_hint(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| folder.is_dir() && !path.exists())?;
    let (is_run, folder) = (folder.join(RunReport::FILE_NAME).exists(), folder.display());
    match name {
        "config.json" if is_run => {
            Some(format!("`{folder}` is a run: give its model, `{folder}/{FINAL}`"))
        }
        "adapter_config.json" if is_run => Some(format!(
            "`{folder}` is a run: give `{folder}/{ADAPTER}` or one of its checkpoints"
        )),
        CONFIG => Some(format!("`{folder}` is no run: it has no {CONFIG}")),
        _ => None,
    }
}

fn io_hint(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::NotFound => Some("check the path: this file or its folder does not exist"),
        io::ErrorKind::PermissionDenied => Some("check the permissions of the file and its folder"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space on the disk, then resume the run")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("name a place on a file system that may be written to")
        }
        io::ErrorKind::IsADirectory => Some("give a file, not a folder"),
        io::ErrorKind::NotADirectory => {
            Some("check the path: a part of it is a file, not a folder")
        }
        _ => None,
    }
}
