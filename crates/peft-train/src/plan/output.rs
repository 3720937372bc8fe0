//! What a run writes into its output folder, and what it may not overwrite.

use std::path::Path;

use super::problem;
use crate::Error;
use crate::config::{MethodName, Problem, TrainingConfig, TypedConfig};
use crate::folder::CONFIG;
use crate::report::write_atomic;
use crate::run::{base_stays, earlier_result, goes_on};

/// Refuses an output folder that cannot be made, or in which an earlier run would be lost, and a checkpoint
/// to go on from that is none.
pub(super) fn check(typed: &TypedConfig) -> Result<(), Vec<Problem>> {
    let TrainingConfig {
        base_model, output_dir, resume_from_checkpoint, overwrite_output_dir, ..
    } = &typed.config;
    if output_dir.as_os_str().is_empty() {
        let message = "`output_dir` is empty".into();
        return Err(vec![typed.problem(
            "output_dir",
            message,
            Some("name a folder for the run".into()),
        )]);
    }
    can_be_made(output_dir).map_err(|e| vec![problem(typed, "output_dir", e)])?;
    if let Some(dir) = resume_from_checkpoint {
        let manifest = crate::run::CheckpointManifest::read(dir);
        let whole = manifest.and_then(|manifest| manifest.verify(dir));
        whole.map_err(|e| vec![problem(typed, "resume_from_checkpoint", e)])?;
    }
    if !output_dir.exists() || goes_on(resume_from_checkpoint.as_deref(), output_dir) {
        return Ok(());
    }
    if *overwrite_output_dir {
        let stays = base_stays(base_model, output_dir);
        return stays.map_err(|e| vec![problem(typed, "output_dir", e)]);
    }
    let earlier = earlier_result(output_dir).map_err(|e| vec![problem(typed, "output_dir", e)])?;
    match earlier {
        None => Ok(()),
        Some(path) => {
            let message = format!("`output_dir` holds an earlier run: `{}`", path.display());
            let hint = "go on with it (`burn-peft resume`), choose another folder, or set \
                        `overwrite_output_dir=true`";
            Err(vec![typed.problem("output_dir", message, Some(hint.into()))])
        }
    }
}

/// Whether the folder `dir` can be made and written into: so can a file without a name, which leaves no
/// trace, in the part of its path that is there.
fn can_be_made(dir: &Path) -> Result<(), Error> {
    let there = dir.ancestors().find(|part| part.exists()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(there).map(drop).map_err(Error::write(dir))
}

impl TrainingConfig {
    /// Whether a run leaves what it changed as an adapter's file: not where that is whole weights, for
    /// which LoSiA's file has no place.
    pub(crate) fn writes_adapter(&self) -> bool {
        match self.method {
            MethodName::Full => false,
            MethodName::LosiaPro | MethodName::Losia => self.modules_to_save.is_empty(),
            _ => true,
        }
    }
}

/// What a person may miss in the output folder, or find gone from it.
pub(super) fn notes(config: &TrainingConfig) -> Vec<String> {
    let is_missed = !config.writes_adapter() && config.method != MethodName::Full;
    let missed = "LoSiA's adapter files have no place for `modules_to_save`: the run writes `final/`, \
                  and no `adapter/`";
    let goes_on = goes_on(config.resume_from_checkpoint.as_deref(), &config.output_dir);
    let earlier = earlier_result(&config.output_dir).ok().flatten();
    let removed = earlier.filter(|_| config.overwrite_output_dir && !goes_on).map(|found| {
        format!("an earlier run is removed from `output_dir`, with `{}`", found.display())
    });
    is_missed.then(|| missed.into()).into_iter().chain(removed).collect()
}

/// Writes the resolved configuration, from which the run can be resumed.
pub(super) fn write_config(config: &TrainingConfig) -> Result<(), Error> {
    let path = config.output_dir.join(CONFIG);
    let toml = config.to_toml()?;
    let text = format!(
        "# The settings of this run, defaults filled in. `burn-peft resume` goes on with them.\n{toml}"
    );
    write_atomic(&path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_below_a_file_cannot_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for output_dir in [file.join("runs/first"), file.clone()] {
            let error = can_be_made(&output_dir).unwrap_err();
            let expected = format!("cannot write `{}`: ", output_dir.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert!(error.hint().unwrap().contains("a part of it is a file"));
        }
        can_be_made(&dir.path().join("runs/first")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left");
    }
}
