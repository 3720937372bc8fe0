//! What can go wrong when a method is configured, attached, stepped or restored.

use std::path::PathBuf;

use thiserror::Error;

/// An error of this crate. [`hint`](Error::hint) says what to do about it, where a person can.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of its range.
    #[error("`{key}` is {found}, expected {expected}")]
    Setting {
        /// Name of the setting, as written in a configuration.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// No parameter of the model is selected.
    #[error("`{key}` = {pattern} matches no parameter of this model")]
    NoMatch {
        /// Name of the setting that holds the pattern.
        key: &'static str,
        /// The pattern, as configured.
        pattern: String,
        /// Names that exist in the model.
        available: Vec<String>,
    },
    /// A pattern is no valid regular expression.
    #[error("`{key}` = {pattern:?} is not a valid regular expression: {reason}")]
    Pattern {
        /// Name of the setting that holds the pattern.
        key: &'static str,
        /// The pattern, as configured.
        pattern: String,
        /// What the regular expression parser said.
        reason: String,
    },
    /// The model already carries adapters: they do not nest.
    #[error("an adapter is already attached at `{path}`")]
    AlreadyAttached {
        /// Path of the adapted parameter.
        path: String,
    },
    /// Rows or columns of a subnet are not sorted, unique and in range.
    #[error("subnet {axis} {problem}")]
    Subnet {
        /// `rows` or `columns`.
        axis: &'static str,
        /// What is wrong with them.
        problem: String,
    },
    /// The model stepped is not the one the method was attached to.
    #[error("parameter `{path}` is not in the model")]
    ParameterGone {
        /// Path the parameter had when the method was attached.
        path: String,
    },
    /// Training diverged: what it would add to a weight is infinite or not a number.
    #[error("the trained block of `{path}` is not finite at step {step}")]
    NotFinite {
        /// Path of the weight, which was left as it was.
        path: String,
        /// The step, counted from 0.
        step: usize,
    },
    /// AdaLoRA never made its last cut: all ranks are still there.
    #[error(
        "the rank budget was never allocated: {steps} steps taken, the last cut is step {last_cut}"
    )]
    NotAllocated {
        /// Steps taken.
        steps: usize,
        /// The step, counted from 0, at whose end the final ranks are decided.
        last_cut: usize,
    },
    /// No adapter of that name was loaded.
    #[error("no adapter `{name}`")]
    NoAdapter {
        /// Name asked for.
        name: String,
        /// Names there are.
        available: Vec<String>,
    },
    /// The weights from before training are gone.
    #[error("the original weight `{path}` cannot be restored: {reason}")]
    Irreversible {
        /// Path of the weight.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// No such device, or its backend is not compiled in.
    #[error("no device `{name}` in this build")]
    Device {
        /// Name asked for.
        name: String,
        /// Backends compiled in.
        compiled: Vec<&'static str>,
    },
    /// The backend is compiled in, but this machine has no such device.
    #[error("no device `{name}` on this machine")]
    DeviceMissing {
        /// Name asked for.
        name: String,
    },
    /// A record does not fit the configuration or the model it is restored into.
    #[error("record entry `{entry}`: {problem}")]
    Record {
        /// Name of the entry.
        entry: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A file cannot be read or written, or is not what its name says.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        problem: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A key of a JSON file is missing, of the wrong type, or out of its range.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key; `rank_pattern["q_proj"]` for an entry of an object.
        key: String,
        /// What was found; `missing` for a missing key.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A file asks for something this crate cannot compute.
    #[error("{}: `{key}` is {found}, which is not supported", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key that asks for it.
        key: &'static str,
        /// Its value.
        found: String,
        /// How to get there all the same.
        hint: &'static str,
    },
    /// A tensor of a file is missing, unknown, or does not fit the configuration.
    #[error("{}: tensor `{name}` {problem}", path.display())]
    StoredTensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor in the file.
        name: String,
        /// What was expected and what was found.
        problem: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::NoMatch { available, .. } => {
                let shown = available.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
                let more = available.len().saturating_sub(12);
                match more {
                    0 => format!("this model has: {shown}"),
                    _ => format!("this model has: {shown} and {more} more"),
                }
            }
            Error::AlreadyAttached { .. } => {
                "merge it first with `Module::materialize`, or start from the plain model".into()
            }
            Error::ParameterGone { .. } => {
                "step the model that `Tuner::attach` returned, and load records into it only".into()
            }
            Error::NotFinite { .. } => {
                "lower the learning rate or clip gradients, and check the data; checkpoints from \
                 before this step are intact"
                    .into()
            }
            Error::NoAdapter { available, .. } => format!("there are: {}", available.join(", ")),
            Error::Irreversible { .. } => {
                "keep a clone of the model from before, which shares memory, or load it again"
                    .into()
            }
            Error::NotAllocated { .. } => {
                "train to the end of the schedule, or set `total_steps` to the steps of this run; \
                 without pruning, LoRA is the method"
                    .into()
            }
            Error::Record { .. } => {
                "restore with the configuration and base model the record was written with".into()
            }
            Error::DeviceMissing { .. } => {
                "check that its driver is installed (`nvidia-smi`, `vulkaninfo`), or choose another \
                 device"
                    .into()
            }
            Error::Device { compiled, .. } => format!(
                "this build has {}; others are Cargo features (`--features cuda`)",
                compiled.join(", ")
            ),
            Error::Pattern { key: "rank_pattern" | "alpha_pattern", .. } => {
                "these are regular expressions without look-around and back-references".into()
            }
            Error::Pattern { .. } => {
                "a list such as [\"q_proj\", \"v_proj\"] needs no regular expression".into()
            }
            Error::File { hint, .. } | Error::Unsupported { hint, .. } => (*hint).into(),
            Error::Key { key, .. } if key == "peft_type" => {
                "adapters of other methods are not read: merge it into its base model with PEFT \
                 (`merge_and_unload`), and load that"
                    .into()
            }
            Error::Key { .. } => "compare with the file as PEFT wrote it".into(),
            Error::StoredTensor { .. } => {
                "the configuration and the tensors must come from the same training run".into()
            }
            Error::Setting { .. } | Error::Subnet { .. } => return None,
        })
    }
}

/// `Err` with the setting named unless `ok`.
pub(crate) fn check(
    ok: bool,
    key: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), Error> {
    match ok {
        true => Ok(()),
        false => Err(Error::Setting { key, found: found.to_string(), expected }),
    }
}
