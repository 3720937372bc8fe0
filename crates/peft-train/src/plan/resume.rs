//! A run that goes on.

use std::path::{Path, PathBuf};

use super::output::CONFIG;
use crate::Error;
use crate::config::{TrainingConfig, TypedConfig};
use crate::run::{LatestCheckpoint, latest_checkpoint};

/// The configuration by which the run in the folder `output_dir` goes on from its newest whole
/// checkpoint, or from the start where it has none. Beside it, the damaged checkpoints that were
/// passed over, and why.
///
/// # Errors
/// [`Error::Io`] if the folder or its `config.toml` cannot be read, [`Error::Config`] if that is
/// damaged.
pub fn resumed(output_dir: &Path) -> Result<(TypedConfig, Vec<Error>), Error> {
    let mut typed = TypedConfig::read(output_dir.join(CONFIG), &[])?;
    let LatestCheckpoint { path, passed_over } = latest_checkpoint(output_dir)?;
    typed.config.output_dir = output_dir.into(); // the folder may have been moved
    typed.config.overwrite_output_dir = path.is_none();
    typed.config.resume_from_checkpoint = path;
    Ok((typed, passed_over))
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
        dataset_prepared_path: config.dataset_prepared_path.map(|path| {
            std::path::absolute(&path).unwrap_or(path)
        }),
        ..config
    }
}
