//! Adapters and merged models exchanged with Hugging Face PEFT and transformers, both ways.

mod base;
mod from_peft;
mod python;
mod to_peft;

use std::path::{Path, PathBuf};

use base::{Base, Run};
use python::Python;

use crate::conform::{CaseError, Comparison, Tensors, largest_difference};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases");
const BASES: [&str; 3] = ["llama_tiny", "gemma_tiny", "gemma2_tiny"];
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/interop/check.py");
const VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/interop-venv");
/// What is exchanged stays there, for a look at what failed.
const WORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/interop");

/// Largest difference of a logit.
const TOLERANCE: f64 = 2e-4;
/// How much an adapter must change some logit, lest a file without effect pass.
const LEAST_EFFECT: f64 = 500.0 * TOLERANCE;

/// Whether every adapter and model gives the same logits here and there.
pub fn run(python: Option<PathBuf>) -> Result<bool, CaseError> {
    let python = match python {
        Some(path) => Python::at(path)?,
        None => Python::in_venv(Path::new(VENV))?,
    };
    let bases = bases(Path::new(WORK))?;
    let written = bases.iter().map(to_peft::runs).collect::<Result<Vec<_>, _>>()?;
    let versions = python.run(SCRIPT, &[Path::new(CASES), Path::new(WORK)])?;
    println!("{versions}; burn-peft {}; tolerance {TOLERANCE:e}", env!("CARGO_PKG_VERSION"));
    let mut passed = true;
    for (base, runs) in bases.iter().zip(written) {
        for run in runs {
            let comparison = compare(base, &run).unwrap_or_else(Comparison::failed);
            passed &= report(&run.dir, &comparison);
        }
        for dir in from_peft::folders(base)? {
            let run = from_peft::run(base, &dir);
            let comparison = run.and_then(|run| compare(base, &run));
            passed &= report(&dir, &comparison.unwrap_or_else(Comparison::failed));
        }
    }
    Ok(passed)
}

/// The base models, each with an empty folder of its name in `work`.
fn bases(work: &Path) -> Result<Vec<Base>, CaseError> {
    if work.exists() {
        std::fs::remove_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    }
    let device = peft_core::device_by_name("auto")?;
    let base = |name| Base::load(&Path::new(CASES).join(name), work.join(name), &device);
    BASES.into_iter().map(base).collect()
}

/// Holds logits against those in `logits.safetensors`.
fn compare(base: &Base, run: &Run) -> Result<Comparison, CaseError> {
    refuse_failed(&run.dir)?;
    let want = Tensors::read(&run.dir.join("logits.safetensors"))?;
    let mut comparison = Comparison::default();
    let (plain, mut effect) = (base.logits(&base.model), f64::INFINITY);
    for (name, got) in &run.logits {
        comparison.close(name, "batch", (got, want.get(name)?), TOLERANCE);
        effect = effect.min(largest_difference(got, &plain));
    }
    comparison.note(format!("effect {effect:.2}"));
    if effect < LEAST_EFFECT {
        comparison.problem(format!("an effect below {LEAST_EFFECT} shows nothing"));
    }
    Ok(comparison)
}

/// The error that Python had with the folder, if it had one.
fn refuse_failed(dir: &Path) -> Result<(), CaseError> {
    std::fs::read_to_string(dir.join("error.txt")).map_or(Ok(()), |error| Err(error.into()))
}

/// Prints a line, and returns whether it is good news.
fn report(dir: &Path, comparison: &Comparison) -> bool {
    let passed = comparison.passed();
    let verdict = if passed { "PASS" } else { "FAIL" };
    println!("{verdict} {} {comparison}", dir.strip_prefix(WORK).unwrap_or(dir).display());
    passed
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    /// The plain model's logits, all of them moved by `by`.
    fn moved(base: &Base, by: f32) -> TensorData {
        let plain = base.logits(&base.model);
        let values: Vec<f32> = plain.iter::<f32>().map(|logit| logit + by).collect();
        TensorData::new(values, plain.shape().to_vec())
    }

    fn compared(base: &Base, got: TensorData, want: &TensorData) -> String {
        let dir = base.folder("test", "run").unwrap();
        let view = TensorView::new(Dtype::F32, want.shape().to_vec(), want.bytes()).unwrap();
        let bytes = safetensors::serialize([("logits", view)], None).unwrap();
        std::fs::write(dir.join("logits.safetensors"), bytes).unwrap();
        compare(base, &Run { dir, logits: vec![("logits", got)] }).unwrap().to_string()
    }

    #[test]
    fn only_logits_that_agree_and_differ_from_the_base_pass() {
        let dir = tempfile::tempdir().unwrap();
        let base = bases(&dir.path().join("new")).unwrap().remove(0);
        let one = moved(&base, 1.0);
        assert_eq!(compared(&base, one.clone(), &one), "logits 0.0e0; effect 1.00");
        let off = compared(&base, moved(&base, 1.001), &one);
        assert!(off.contains("batch: logits off by 1.00e-3 > 2e-4"), "{off}");
        let idle = compared(&base, moved(&base, 0.0), &moved(&base, 0.0));
        assert!(idle.ends_with("an effect below 0.1 shows nothing"), "{idle}");
    }

    #[test]
    fn what_python_could_not_load_fails_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let base = bases(&dir.path().join("new")).unwrap().remove(0);
        let run = Run { dir: base.folder("test", "run").unwrap(), logits: vec![] };
        let absent = compare(&base, &run).unwrap_err().to_string();
        assert!(absent.contains("logits.safetensors: "), "{absent}");
        std::fs::write(run.dir.join("error.txt"), "KeyError: 'lora_A'").unwrap();
        let error = compare(&base, &run).unwrap_err();
        assert_eq!(error.to_string(), "KeyError: 'lora_A'");
    }
}
