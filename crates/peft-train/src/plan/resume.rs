//! A run that goes on.

use std::path::{Path, PathBuf};

use super::{Plan, problem, tuner_config};
use crate::Error;
use crate::config::{Problems, TrainingConfig, TypedConfig};
use crate::folder::{ADAPTER, CONFIG, FINAL};
use crate::run::{
    CheckpointManifest, LatestCheckpoint, OutputLock, RunIdentity, latest_checkpoint, settings,
};

/// The configuration by which the run in the folder `output_dir` goes on from its newest whole
/// checkpoint, or from the start where it never wrote one. Beside it, the damaged checkpoints that
/// were passed over, and why.
///
/// # Errors
/// [`Error::Io`] if the folder or its `config.toml` cannot be read, [`Error::Config`] if that is
/// damaged; [`Error::Checkpoint`] or [`Error::AllDamaged`] if none is whole; [`Error::NothingToResume`]
/// for a run that ended and has none, [`Error::OutputDirLocked`] for one that is at work.
pub fn resumed(output_dir: &Path) -> Result<(TypedConfig, Vec<Error>), Error> {
    let mut typed = TypedConfig::read(output_dir.join(CONFIG), &[])?;
    drop(OutputLock::take(output_dir)?); // puts back what a kill left out of its place
    let LatestCheckpoint { path, mut passed_over } = latest_checkpoint(output_dir)?;
    if path.is_none() {
        match passed_over.len() {
            0 => (),
            1 => return Err(passed_over.remove(0)),
            _ => return Err(Error::AllDamaged { path: output_dir.into(), reasons: passed_over }),
        }
        if [FINAL, ADAPTER].iter().any(|name| output_dir.join(name).exists()) {
            return Err(Error::NothingToResume { path: output_dir.into() });
        }
    }
    typed.config.output_dir = output_dir.into(); // the folder may have been moved
    typed.config.overwrite_output_dir = false;
    typed.config.resume_from_checkpoint = path;
    Ok((typed, passed_over))
}

/// Refuses a plan that would go on from a checkpoint of another run.
pub(super) fn check(typed: &TypedConfig, plan: &Plan) -> Result<(), Error> {
    let Some(dir) = &plan.config.resume_from_checkpoint else { return Ok(()) };
    let identity = identity(plan)?;
    let own = CheckpointManifest::read(dir).and_then(|found| found.check_run(dir, &identity));
    own.map_err(|e| Problems(vec![problem(typed, "resume_from_checkpoint", e)]).into())
}

/// What [`Run::new`](crate::run::Run::new) will find the run to be.
fn identity(plan: &Plan) -> Result<RunIdentity, Error> {
    let Plan { config, base, data, method, .. } = plan;
    let settings = settings(&method.to_json(), &config.train_config(), &tuner_config(config));
    let (built, base_identity) = (method.build()?, Some(base.identity.clone()));
    let (name, dtype) = (built.name(), base.dtype.dtype);
    Ok(RunIdentity::new(name, settings, &data.train, dtype, base_identity))
}

/// A run is resumed from anywhere, so its paths must not depend on where it was started.
pub(super) fn with_absolute_paths(config: TrainingConfig) -> TrainingConfig {
    let absolute = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let datasets = |mut datasets: Vec<crate::data::DatasetConfig>| {
        for dataset in &mut datasets {
            let local = Path::new(&dataset.path).canonicalize().ok();
            let local = local.and_then(|path| path.into_os_string().into_string().ok());
            dataset.path = local.unwrap_or_else(|| dataset.path.clone());
        }
        datasets
    };
    TrainingConfig {
        base_model: absolute(config.base_model),
        datasets: datasets(config.datasets),
        test_datasets: datasets(config.test_datasets),
        chat_template: config.chat_template.map(absolute),
        dataset_prepared_path: config
            .dataset_prepared_path
            .map(|path| std::path::absolute(&path).unwrap_or(path)),
        ..config
    }
}
