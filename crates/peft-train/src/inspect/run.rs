//! The output folder of a run.

use std::path::{Path, PathBuf};

use peft_llama::Checkpoint;

use super::{InspectOptions, Inspection, TensorGroup, adapter, checkpoint, model};
use crate::Error;
use crate::config::{TrainingConfig, TypedConfig};
use crate::folder::{ADAPTER, CONFIG, FINAL};
use crate::report::{History, MetricsLog, RunReport, RunStatus};
use crate::run::list_checkpoints;
use crate::trained::Origin;

pub(super) fn inspect(
    path: &Path,
    options: InspectOptions<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Inspection, Error> {
    let checkpoints = list_checkpoints(path)?;
    let has_results = !checkpoints.is_empty()
        || [FINAL, ADAPTER].map(|name| path.join(name).exists()) != [false; 2];
    // A process may have been killed before it wrote them.
    let report = needed(has_results, path, RunReport::FILE_NAME, |_| RunReport::read(path))?;
    let history = needed(report.is_some(), path, MetricsLog::FILE_NAME, |_| History::read(path))?;
    // A run that is not made of a configuration file has none.
    let has_config =
        report.as_ref().is_some_and(|report| report.config.get("base_model").is_some());
    let config = needed(has_config, path, CONFIG, |file| TypedConfig::read(file, &[]))?;
    let of_run = config.as_ref().map(|typed| typed.config.base_model.as_path());
    let is_gone = options.base().is_none() && of_run.is_some_and(|base| !base.exists());
    let base = options.base().or(of_run.filter(|_| !is_gone));

    let mut facts = Vec::new();
    facts.extend(config.as_ref().map(|typed| ("method", typed.config.method.to_string())));
    facts.extend(report.as_ref().map(|report| ("run", describe(report))));
    facts.extend(history.as_ref().map(|history| ("log", last_loss(history))));
    facts.extend(base.map(|base| ("base", base.display().to_string())));
    facts.extend(of_run.filter(|_| is_gone).map(super::gone));
    if let Some((typed, report)) = config.as_ref().zip(report.as_ref()) {
        check_results(path, &typed.config, report.status)?;
    }
    for (steps, dir) in checkpoints {
        let manifest = checkpoint::checked(&dir)?;
        if manifest.progress.steps != steps {
            let reason = format!("is of step {}, whatever its name says", manifest.progress.steps);
            return Err(Error::checkpoint(&dir, reason));
        }
        match base {
            Some(base) if config.is_some() => {
                Origin::of(&dir, &manifest, &Checkpoint::open(base)?)?;
            }
            Some(base) => manifest.check_base(&dir, base)?,
            None => (),
        }
        facts.push(("checkpoint", format!("{}: whole", dir.display())));
    }
    let mut tensors = Vec::new();
    let dir = path.join(ADAPTER);
    if dir.exists() {
        let of_base = base.map(|base| model::catalogue(base, options.device));
        let found = adapter::checked(&dir, of_base.transpose()?.as_ref())?;
        facts.extend(found.facts);
        tensors.extend(within(ADAPTER, found.tensors));
    }
    let dir = path.join(FINAL);
    if dir.exists() {
        let found = model::inspect(&dir, InspectOptions { config: None, ..options }, watch)?;
        facts.extend(found.facts);
        tensors.extend(within(FINAL, found.tensors));
    }
    Ok(Inspection { facts, tensors })
}

/// The tensors of one of the run's folders.
fn within(folder: &str, tensors: Vec<TensorGroup>) -> impl Iterator<Item = TensorGroup> {
    tensors.into_iter().map(move |group| {
        let name = format!("{folder}: {}", group.name);
        TensorGroup { name, ..group }
    })
}

/// What is in the file `name`, which may only be missing where it is not needed.
fn needed<T>(
    is_needed: bool,
    path: &Path,
    name: &str,
    read: impl FnOnce(PathBuf) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let file = path.join(name);
    (is_needed || file.exists()).then(|| read(file)).transpose()
}

/// A completed run has left all that it writes.
fn check_results(path: &Path, config: &TrainingConfig, status: RunStatus) -> Result<(), Error> {
    let is_missing = |name: &str| !path.join(name).exists();
    let missing = match (is_missing(FINAL), is_missing(ADAPTER) && config.writes_adapter()) {
        (true, _) => Some(FINAL),
        (_, true) => Some(ADAPTER),
        _ => None,
    };
    match missing.filter(|_| status == RunStatus::Completed) {
        None => Ok(()),
        Some(missing) => Err(Error::ResultMissing { path: path.into(), missing }),
    }
}

fn describe(report: &RunReport) -> String {
    let status = format!("{:?}", report.status).to_lowercase();
    let error = report.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    format!("{status} after {} steps on {}{error}", report.steps, report.device)
}

fn last_loss(history: &History) -> String {
    match history.steps.last() {
        Some(last) => {
            format!("{} lines, last step {}, loss {:.4}", history.steps.len(), last.step, last.loss)
        }
        None => "no lines".into(),
    }
}
