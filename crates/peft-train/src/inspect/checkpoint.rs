//! A checkpoint of a run.

use indicatif::{DecimalBytes, HumanCount};
use std::path::Path;

use super::{InspectOptions, Inspection, model};
use crate::Error;
use crate::run::{BaseIdentity, CheckpointManifest, Progress};

pub(super) fn inspect(path: &Path, options: InspectOptions<'_>) -> Result<Inspection, Error> {
    let manifest = checked(path)?;
    let CheckpointManifest { progress, run, files, .. } = &manifest;
    let Progress { steps, skipped_steps, loss_scale } = progress;
    let bytes: u64 = files.values().map(|file| file.size).sum();
    let mut facts = vec![
        ("checkpoint", format!("after {steps} steps ({skipped_steps} skipped)")),
        ("method", run.method.clone()),
        ("samples", format!("{}, SHA-256 {}", HumanCount(run.samples as u64), run.data)),
        ("dtype", run.dtype.clone()),
        ("size", DecimalBytes(bytes).to_string()),
    ];
    facts.extend(loss_scale.map(|scale| ("loss scale", scale.factor.to_string())));
    if let Some(base) = options.base {
        model::catalogue(base, options.device)?;
        check_base(path, &manifest, base)?;
        facts.push(("fits", base.display().to_string()));
    }
    let digests = files.iter().map(|(name, file)| {
        ("file", format!("{name}, {} bytes, SHA-256 {}", file.size, file.sha256))
    });
    facts.extend(digests);
    Ok(Inspection { facts, tensors: Vec::new() })
}

/// The manifest of a checkpoint all of whose files read as it says.
pub(super) fn checked(path: &Path) -> Result<CheckpointManifest, Error> {
    let manifest = CheckpointManifest::read(path)?;
    manifest.verify(path)?;
    Ok(manifest)
}

/// Refuses a base other than the one the run was started with.
pub(super) fn check_base(
    path: &Path,
    manifest: &CheckpointManifest,
    base: &Path,
) -> Result<(), Error> {
    let Some(expected) = &manifest.run.base else { return Ok(()) };
    let found = BaseIdentity::of(base)?;
    let parts = [
        ("config.json", expected.config == found.config),
        ("weights", expected.weights == found.weights),
        ("tokenizer.json", expected.tokenizer == found.tokenizer),
    ];
    match parts.into_iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((part, _)) => {
            let reason = format!("belongs to another base than `{}`: other {part}", base.display());
            Err(Error::checkpoint(path, reason))
        }
    }
}
