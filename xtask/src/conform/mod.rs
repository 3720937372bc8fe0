//! Runs recorded reference cases: every folder with a `case.json`.

mod adapter;
mod budget_table;
mod case;
mod compare;
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
    /// Not run, and why.
    Skip(String),
}

/// Why a case could not be run: a file of it is missing or malformed.
pub type CaseError = Box<dyn std::error::Error>;

/// The case folders below `dirs`: each itself, or those one level below it, by name.
pub fn find(dirs: &[PathBuf]) -> Result<Vec<PathBuf>, CaseError> {
    let mut found = Vec::new();
    for dir in dirs {
        if is_case(dir) {
            found.push(dir.clone());
            continue;
        }
        let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut below: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|p| is_case(p))
            .collect();
        below.sort();
        found.extend(below);
    }
    Ok(found)
}

fn is_case(dir: &Path) -> bool {
    dir.join("case.json").is_file()
}

/// Runs one case on `device`.
pub fn run(dir: &Path, device: &Device) -> Result<(Case, Outcome), CaseError> {
    let case = Case::read(dir)?;
    if let Some(reason) = not_built(&case)? {
        return Ok((case, Outcome::Skip(reason)));
    }
    let comparison = match case.kind.as_str() {
        "model" => model::run(&case, device),
        "adapter" => adapter::run(&case, device),
        "adalora_trace" => trace::adalora::run(&case, device),
        "budget_table" => budget_table::run(&case),
        "losia_trace" => trace::losia::run(&case, device),
        "losia_unit" => losia_unit::run(&case, device),
        _ => lr_table::run(&case),
    }?;
    let outcome = match (comparison.passed(), case.informational) {
        (true, _) => Outcome::Pass(comparison),
        (false, true) => Outcome::Skip(format!("informational: {comparison}")),
        (false, false) => Outcome::Fail(comparison),
    };
    Ok((case, outcome))
}

/// Why a case cannot be run yet, if it cannot.
fn not_built(case: &Case) -> Result<Option<String>, CaseError> {
    let architecture = match case.kind.as_str() {
        "model" => model::architecture(case)?,
        "adapter" | "adalora_trace" | "losia_trace" => model::architecture(&case.base()?)?,
        "budget_table" | "losia_unit" | "lr_table" => return Ok(None),
        kind => return Ok(Some(format!("kind {kind} is not built yet"))),
    };
    let built = ["llama", "gemma", "gemma2"].contains(&architecture.as_str());
    Ok((!built).then(|| format!("model_type {architecture} is not built yet")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_case_of_a_built_kind_passes() {
        let name = std::env::var("BURN_PEFT_TEST_DEVICE").unwrap_or_else(|_| "ndarray".into());
        let device = peft_core::device_by_name(&name).unwrap();
        let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases"));
        let (mut passed, mut skipped) = (vec![], vec![]);
        for dir in find(&[dir]).unwrap() {
            let (case, outcome) = run(&dir, &device).unwrap();
            match outcome {
                Outcome::Pass(_) => passed.push(case.name),
                Outcome::Skip(_) => skipped.push(case.name),
                Outcome::Fail(comparison) => panic!("{}: {comparison}", case.name),
            }
        }
        let want = [
            "adalora_tiny",
            "adalora_trace_adamw",
            "budget_table",
            "dora_tiny",
            "gemma2_tiny",
            "gemma_tiny",
            "llama3_rope_tiny",
            "llama_tiny",
            "lora_tiny",
            "losia_lmhead_trace",
            "losia_pro_trace",
            "losia_trace",
            "losia_unit",
            "lr_table",
        ];
        assert_eq!(passed, want, "skipped: {skipped:?}");
    }

    #[test]
    fn a_wrong_number_fails() {
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/lr_table"));
        let dir = std::env::temp_dir().join(format!("burn-peft-conform-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::copy(source.join("case.json"), dir.join("case.json")).unwrap();
        let table = std::fs::read_to_string(source.join("table.json")).unwrap();
        std::fs::write(dir.join("table.json"), table.replacen("0.2,0.4", "0.2,0.5", 1)).unwrap();
        let (_, outcome) = run(&dir, &peft_core::device_by_name("ndarray").unwrap()).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(outcome, Outcome::Fail(_)), "{outcome:?}");
    }
}
