//! The Python that runs PEFT.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::conform::CaseError;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/interop/requirements.txt");
const IMPORTS: &str = "import torch, transformers, peft, safetensors";

/// An interpreter that has the packages.
#[derive(Debug)]
pub struct Python(PathBuf);

impl Python {
    /// The interpreter at `path`, with the packages it has.
    pub fn at(path: PathBuf) -> Result<Self, CaseError> {
        let hint = format!("install what {REQUIREMENTS} names, or leave `--python` out");
        run(Command::new(&path).args(["-c", IMPORTS]), &hint)?;
        Ok(Self(path))
    }

    /// One in the virtual environment in `dir`, which is made, or completed, with the packages of
    /// `requirements.txt`.
    pub fn in_venv(dir: &Path) -> Result<Self, CaseError> {
        let path = dir.join("bin/python");
        let hint = "install Python 3.10 or newer with its venv and pip, or name an interpreter \
            that has the packages with `--python`";
        run(Command::new("python3").args(["-m", "venv"]).arg(dir), hint)?;
        let hint =
            "check the network, or name an interpreter that has the packages with `--python`";
        let pip = ["-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS];
        run(Command::new(&path).args(pip), hint)?;
        Ok(Self(path))
    }

    /// What the script at `path` prints.
    pub fn run(&self, path: &str, args: &[&Path]) -> Result<String, CaseError> {
        let mut command = Command::new(&self.0);
        command.arg(path).args(args).env("HF_HUB_OFFLINE", "1");
        run(&mut command, "the script is written for the versions in requirements.txt")
    }
}

/// Runs to the end; what was printed.
fn run(command: &mut Command, hint: &str) -> Result<String, CaseError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |problem: &str| format!("{program}: {}\nhint: {hint}", problem.trim());
    let output = command.output().map_err(|e| failed(&e.to_string()))?;
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    match output.status.success() {
        true => Ok(stdout),
        false => Err(failed(&format!("{}\n{stdout}{stderr}", output.status)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_that_cannot_be_used_is_an_error_with_a_hint() {
        for (path, problem) in [("/absent/python", "No such file"), ("false", "exit status: 1")] {
            let error = Python::at(path.into()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{path}: {problem}")), "{error}");
            assert!(error.contains("\nhint: install what "), "{error}");
        }
    }

    #[test]
    fn an_environment_that_cannot_be_made_is_an_error_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Python::in_venv(&file).unwrap_err().to_string();
        assert!(error.contains("\nhint: install Python 3.10"), "{error}");
    }
}
