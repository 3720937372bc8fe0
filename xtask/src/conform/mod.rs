//! Runs recorded reference cases: every folder with a `case.json`.

mod adapter;
mod budget_table;
mod case;
mod compare;
mod defaults;
mod losia_unit;
mod lr_table;
mod model;
mod peft_names;
mod tensors;
mod trace;
mod weights;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

pub use adapter::method;
pub use case::Case;
pub use compare::{Comparison, largest_difference};
pub use tensors::Tensors;

/// What came of a case.
#[derive(Debug)]
pub enum Outcome {
    /// Everything within its tolerance; the largest errors.
    Pass(Comparison),
    /// Something beyond its tolerance.
    Fail(Comparison),
    /// A kind that is not known here, or beyond a tolerance in a case that is only informational: why,
    /// or the largest errors.
    Skip(String),
}

/// Why a case could not be run: a file of it is missing or malformed.
pub type CaseError = Box<dyn std::error::Error>;

/// Kinds of cases.
const KINDS: [&str; 7] =
    ["model", "adapter", "adalora_trace", "budget_table", "losia_trace", "losia_unit", "lr_table"];

/// The case folders in `dirs`, by name: each itself, or those anywhere below it.
///
/// # Errors
/// A folder without any: it is not what was meant.
pub fn find(dirs: &[PathBuf]) -> Result<Vec<PathBuf>, CaseError> {
    let mut found = Vec::new();
    for dir in dirs {
        let before = found.len();
        search(dir, &mut found)?;
        if found.len() == before {
            return Err(
                format!("{}: no case in it: no folder has a case.json", dir.display()).into()
            );
        }
    }
    Ok(found)
}

/// Links to folders are followed to cases, and no deeper.
fn search(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), CaseError> {
    if dir.join("case.json").is_file() {
        found.push(dir.into());
        return Ok(());
    }
    let failed = |e: std::io::Error| format!("{}: {e}", dir.display());
    let entries = std::fs::read_dir(dir).map_err(failed)?.collect::<Result<Vec<_>, _>>();
    let mut below: Vec<PathBuf> = entries.map_err(failed)?.into_iter().map(|e| e.path()).collect();
    below.sort();
    let is_searched =
        |path: &PathBuf| path.is_dir() && (!path.is_symlink() || path.join("case.json").is_file());
    below.iter().filter(|path| is_searched(path)).try_for_each(|path| search(path, found))
}

/// Runs one case on `device`.
///
/// # Errors
/// A folder without a readable `case.json`. What else is wrong with a case makes it fail.
pub fn run(dir: &Path, device: &Device) -> Result<(Case, Outcome), CaseError> {
    let case = Case::read(dir)?;
    if !KINDS.contains(&case.kind.as_str()) {
        let known = KINDS.join(", ");
        let why = format!("unknown kind `{}`, known are {known}", case.kind);
        return Ok((case, Outcome::Skip(why)));
    }
    let comparison = reproduce(&case, device).unwrap_or_else(Comparison::failed);
    let outcome = match (comparison.passed(), case.informational) {
        (true, _) => Outcome::Pass(comparison),
        (false, true) => Outcome::Skip(format!("informational: {comparison}")),
        (false, false) => Outcome::Fail(comparison),
    };
    Ok((case, outcome))
}

fn reproduce(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let comparison = match case.kind.as_str() {
        "model" => model::run(case, device),
        "adapter" => adapter::run(case, device),
        "adalora_trace" => trace::adalora::run(case, device),
        "budget_table" => budget_table::run(case),
        "losia_trace" => trace::losia::run(case, device),
        "losia_unit" => losia_unit::run(case, device),
        "lr_table" => lr_table::run(case),
        kind => unreachable!("`{kind}` is not among the known kinds"),
    }?;
    match comparison.is_empty() {
        true => Err("nothing is recorded that could be compared".into()),
        false => Ok(comparison),
    }
}

#[cfg(test)]
mod tests;
