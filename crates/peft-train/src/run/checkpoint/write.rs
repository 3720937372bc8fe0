//! Writing a checkpoint so that all of it is there, or nothing.

use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use peft_core::Record;

use super::folder::path_of;
use super::manifest::{CheckpointManifest, FileDigest, Progress};
use super::{FILES, OPTIMIZER, STATE, STATE_META, tensors};
use crate::Error;
use crate::run::identity::RunIdentity;
use crate::staged;

/// Writes `checkpoint-STEPS` into `output_dir`, in place of an older one, and returns its path.
///
/// # Errors
/// [`Error::Io`] and the like; the folder then holds what it held before.
pub(in crate::run) fn write(
    output_dir: &Path,
    run: &RunIdentity,
    progress: Progress,
    record: &Record,
    optim: &ModuleOptimizer,
) -> Result<PathBuf, Error> {
    let target = path_of(output_dir, progress.steps);
    staged::replace(&target, |dir| {
        write_state(dir, record, optim)?;
        let mut manifest = CheckpointManifest::new(progress, run.clone());
        for name in FILES {
            manifest.files.insert(name.into(), FileDigest::of(&dir.join(name))?);
        }
        manifest.write(dir)
    })?;
    Ok(target)
}

fn write_state(dir: &Path, record: &Record, optim: &ModuleOptimizer) -> Result<(), Error> {
    let path = dir.join(STATE_META);
    let json = serde_json::to_vec(&record.meta)
        .map_err(|source| Error::Serialize { path: path.clone(), source })?;
    std::fs::write(&path, json).map_err(Error::write(&path))?;
    let ordinary = std::fs::metadata(&path).map_err(Error::read(&path))?.permissions();
    let path = dir.join(STATE);
    tensors::write(&path, &record.tensors)?;
    // safetensors leaves a file that only its owner can read.
    std::fs::set_permissions(&path, ordinary).map_err(Error::write(&path))?;
    let path = dir.join(OPTIMIZER);
    optim.save(&path).map_err(|e| Error::write(&path)(std::io::Error::other(e)))
}
