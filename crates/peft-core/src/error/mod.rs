//! What can go wrong when a method is configured, attached, stepped or restored.

mod hint;
#[cfg(test)]
mod texts;

use std::path::PathBuf;

use thiserror::Error;

use crate::ParamInfo;

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
    /// A setting selects nothing.
    #[error("`{key}` = {pattern} matches no {what}")]
    NoMatch {
        /// Name of the setting that holds the pattern.
        key: &'static str,
        /// The pattern, as configured.
        pattern: String,
        /// What it selects from, such as `parameter of this model`.
        what: &'static str,
        /// What there is to select.
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
    /// Training diverged, or the adapter of a file is damaged: what it makes of a weight, in the
    /// weight's type, is infinite or not a number.
    #[error("what was trained for `{path}` is not finite at step {step}")]
    NotFinite {
        /// Path of the weight, which was left as it was.
        path: String,
        /// The step, counted from 0.
        step: usize,
    },
    /// AdaLoRA has not made its last cut: its ranks are not decided.
    #[error(
        "the rank budget was never allocated: {steps} steps taken, the last cut is step {last_cut}"
    )]
    NotAllocated {
        /// Steps taken.
        steps: usize,
        /// The step, counted from 0, at whose end the final ranks are decided.
        last_cut: usize,
    },
    /// The file of an AdaLoRA adapter is that of a run that did not come to its last cut.
    #[error("`rank_pattern` of the ADALORA adapter is null: its ranks were never decided")]
    UndecidedRanks,
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

/// The error for a setting whose `pattern` matches none of what is `available`.
pub(crate) fn no_match<T: ToString>(
    key: &'static str,
    pattern: impl ToString,
    what: &'static str,
    available: impl IntoIterator<Item = T>,
) -> Error {
    let available = available.into_iter().map(|name| name.to_string()).collect();
    Error::NoMatch { key, pattern: pattern.to_string(), what, available }
}

/// The error for a `path` that is not among those of `params`.
pub(crate) fn no_param<'a>(
    key: &'static str,
    path: &str,
    params: impl IntoIterator<Item = &'a ParamInfo>,
) -> Error {
    let available = params.into_iter().map(|param| &param.path);
    no_match(key, format!("{path:?}"), "parameter of this model", available)
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
