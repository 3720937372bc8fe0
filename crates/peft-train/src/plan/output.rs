//! What a run writes into its output folder, and what it may not overwrite.

use std::path::{Path, PathBuf};

use super::problem;
use crate::Error;
use crate::config::{Problem, TrainingConfig, TypedConfig};
use crate::folder::{ADAPTER, FINAL};
use crate::report::write_atomic;
use crate::run::{is_same, list_checkpoints};

/// File of the resolved configuration.
pub(crate) const CONFIG: &str = "config.toml";

/// Refuses an output folder in which an earlier run would be lost, and a checkpoint to go on from
/// that is none.
pub(super) fn check(typed: &TypedConfig) -> Result<(), Vec<Problem>> {
    let TrainingConfig { output_dir, resume_from_checkpoint, overwrite_output_dir, .. } =
        &typed.config;
    if let Some(dir) = resume_from_checkpoint {
        let manifest = crate::run::CheckpointManifest::read(dir);
        let whole = manifest.and_then(|manifest| manifest.verify(dir));
        whole.map_err(|e| vec![problem(typed, "resume_from_checkpoint", e)])?;
    }
    let own = resume_from_checkpoint.as_deref().and_then(Path::parent);
    if *overwrite_output_dir
        || !output_dir.exists()
        || own.is_some_and(|own| is_same(own, output_dir))
    {
        return Ok(());
    }
    let earlier = earlier(output_dir).map_err(|e| vec![problem(typed, "output_dir", e)])?;
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

/// What an earlier run left that a new one would replace.
fn earlier(output_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let newest = list_checkpoints(output_dir)?.pop().map(|(_, path)| path);
    let finished = [FINAL, ADAPTER].map(|name| output_dir.join(name));
    Ok(newest.or_else(|| finished.into_iter().find(|path| path.exists())))
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
