//! A checkpoint of a run.

use std::path::{Path, PathBuf};

use indicatif::{DecimalBytes, HumanCount};
use peft_llama::Checkpoint;

use super::{InspectOptions, Inspection, TensorGroup, model};
use crate::Error;
use crate::config::TypedConfig;
use crate::folder::CONFIG;
use crate::run::{CheckpointManifest, Progress, stored_tensors};
use crate::trained::{Origin, run_of};

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
    let config = run_of(path)?.join(CONFIG);
    let config = config.exists().then(|| TypedConfig::read(&config, &[])).transpose()?;
    let of_run = || config.as_ref().map(|typed| typed.config.base_model.clone());
    if let Some(base) = options.base().map(PathBuf::from).or_else(of_run) {
        let is_named = options.base().is_some();
        facts.extend(match is_named || base.exists() {
            true => of_base(path, &manifest, &base, config.is_some(), options)?,
            false => vec![super::gone(&base)],
        });
    }
    let digests = files.iter().map(|(name, file)| {
        ("file", format!("{name}, {} bytes, SHA-256 {}", file.size, file.sha256))
    });
    facts.extend(digests);
    let mut tensors = Vec::new();
    for (name, shape, dtype) in stored_tensors(path)? {
        TensorGroup::add(&mut tensors, &name, &shape, dtype);
    }
    Ok(Inspection { facts, tensors })
}

/// The manifest of a checkpoint all of whose files read as it says.
pub(super) fn checked(path: &Path) -> Result<CheckpointManifest, Error> {
    let manifest = CheckpointManifest::read(path)?;
    manifest.verify(path)?;
    Ok(manifest)
}

/// What the checkpoint is on the model in the folder `base`. What trained it is known where its run
/// has a configuration.
fn of_base(
    path: &Path,
    manifest: &CheckpointManifest,
    base: &Path,
    has_config: bool,
    options: InspectOptions<'_>,
) -> Result<Vec<(&'static str, String)>, Error> {
    let catalogue = model::catalogue(base, options.device)?;
    let mut facts = Vec::new();
    if has_config {
        let origin = Origin::of(path, manifest, &Checkpoint::open(base)?)?;
        facts.push(model::trains(&origin.outline(&catalogue)?));
    }
    manifest.check_base(path, base)?;
    facts.push(match manifest.run.base {
        Some(_) => ("fits", base.display().to_string()),
        None => ("base", "not compared: the checkpoint does not say what it was trained on".into()),
    });
    Ok(facts)
}
