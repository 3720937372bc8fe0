//! The output folder of a run.

use std::path::Path;

use peft_llama::Checkpoint;

use super::{InspectOptions, Inspection, TensorGroup, adapter, checkpoint, model};
use crate::Error;
use crate::config::{TrainingConfig, TypedConfig};
use crate::folder::{ADAPTER, CONFIG, FINAL};
use crate::report::{History, RunReport, RunStatus};
use crate::run::list_checkpoints;
use crate::trained::Origin;

pub(super) fn inspect(
    path: &Path,
    options: InspectOptions<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Inspection, Error> {
    let config = TypedConfig::read(path.join(CONFIG), &[])?.config;
    let report = RunReport::read(path)?;
    let history = History::read(path)?;
    let named = options.base().unwrap_or(&config.base_model);
    let base = Some(named).filter(|base| options.base().is_some() || base.exists());

    let mut facts = vec![
        ("method", config.method.to_string()),
        ("run", describe(&report)),
        ("log", last_loss(&history)),
    ];
    facts.push(match base {
        Some(base) => ("base", base.display().to_string()),
        None => super::gone(named),
    });
    check_results(path, &config, &report)?;
    for (steps, dir) in list_checkpoints(path)? {
        let manifest = checkpoint::checked(&dir)?;
        if manifest.progress.steps != steps {
            let reason = format!("is of step {}, whatever its name says", manifest.progress.steps);
            return Err(Error::checkpoint(&dir, reason));
        }
        if let Some(base) = base {
            Origin::of(&dir, &manifest, &Checkpoint::open(base)?)?;
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

/// A completed run has left all that it writes, another what it goes on from.
fn check_results(path: &Path, config: &TrainingConfig, report: &RunReport) -> Result<(), Error> {
    let is_missing = |name: &str| !path.join(name).exists();
    if report.status != RunStatus::Completed {
        let checkpoint = report.checkpoint.as_deref().and_then(Path::file_name);
        return match checkpoint.map(|name| path.join(name)).filter(|path| !path.exists()) {
            None => Ok(()),
            Some(path) => Err(Error::checkpoint(&path, "is missing, and the run goes on from it")),
        };
    }
    let missing = match (is_missing(FINAL), is_missing(ADAPTER) && config.writes_adapter()) {
        (true, _) => Some(FINAL),
        (_, true) => Some(ADAPTER),
        _ => None,
    };
    match missing {
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
