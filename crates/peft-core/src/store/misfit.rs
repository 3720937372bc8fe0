//! What is said about a file that does not fit a base model.

use std::path::Path;

use super::names::{Modules, refuse, whole_name};
use super::{CONFIG, WEIGHTS};
use crate::Error;

/// The error for the parameter `param`, stored whole beside adapters of `modules`.
pub(crate) fn misfit(modules: &Modules, param: &str, problem: String) -> Error {
    refuse(Path::new(WEIGHTS), &whole_name(modules, param), problem)
}

/// The error for embeddings that are two in the file and one in the base model.
pub(crate) fn half_tied(found: String) -> Error {
    Error::Unsupported {
        path: CONFIG.into(),
        key: "modules_to_save",
        found: format!("{found}, which are one tensor in this base model"),
        hint: "train both in PEFT with `ensure_weight_tying=True`, or a base model that is not tied",
    }
}
