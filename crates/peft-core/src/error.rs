//! What can go wrong when a method is configured, attached, stepped or restored.

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
    /// No such device, or its backend is not compiled in.
    #[error("no device `{name}` in this build")]
    Device {
        /// Name asked for.
        name: String,
        /// Backends compiled in.
        compiled: Vec<&'static str>,
    },
    /// A record does not fit the configuration or the model it is restored into.
    #[error("record entry `{entry}`: {problem}")]
    Record {
        /// Name of the entry.
        entry: String,
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
            Error::Record { .. } => {
                "restore with the configuration and base model the record was written with".into()
            }
            Error::Device { compiled, .. } => format!(
                "this build has {}; others are Cargo features (`--features cuda`)",
                compiled.join(", ")
            ),
            Error::Pattern { .. } => {
                "a list such as [\"q_proj\", \"v_proj\"] needs no regular expression".into()
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
