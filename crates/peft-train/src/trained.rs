//! The state of a run in one of its checkpoints, put on the base again without the run's data.

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use peft_core::{Catalogue, Outline, Record, Tuner, TunerConfig};
use peft_llama::{CausalLm, Checkpoint};

use crate::Error;
use crate::config::TypedConfig;
use crate::folder::CONFIG;
use crate::plan::{MethodSettings, output_head, tuner_config};
use crate::run::{CheckpointManifest, RunIdentity, read_record, settings};

/// What wrote a checkpoint: a method with its settings.
pub(crate) struct Origin {
    method: MethodSettings,
    tuner: TunerConfig,
}

impl Origin {
    /// Of the checkpoint in the folder `dir`, whose `manifest` it is, by the `config.toml` of its run in
    /// the folder around it.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Config`] for that file; [`Error::Checkpoint`] if the checkpoint is not
    /// of that run, or `base` not its base.
    pub fn of(dir: &Path, manifest: &CheckpointManifest, base: &Checkpoint) -> Result<Self, Error> {
        manifest.check_base(dir, base.dir())?;
        let mut config = TypedConfig::read(run_of(dir)?.join(CONFIG), &[])?.config;
        let steps = &manifest.run.config["method"]["total_steps"]; // those of the data it was trained on
        let steps = steps.as_u64().unwrap_or_default() as usize;
        let method = MethodSettings::resolve(&mut config, steps, output_head(base.config()));
        let tuner = tuner_config(&config);
        let found = RunIdentity {
            method: method.build()?.name().into(),
            config: settings(&method.to_json(), &config.train_config(), &tuner),
            ..manifest.run.clone()
        };
        manifest.check_run(dir, &found)?;
        Ok(Self { method, tuner })
    }

    /// What the method takes of a model with the parameters of `catalogue`.
    ///
    /// # Errors
    /// [`Error::Method`] for what the method refuses.
    pub fn outline(&self, catalogue: &Catalogue) -> Result<Outline, Error> {
        Ok(Outline::new(&mut *self.method.build()?, &self.tuner, catalogue)?)
    }
}

/// The folder of the run whose checkpoint is in the folder `dir`.
pub(crate) fn run_of(dir: &Path) -> Result<PathBuf, Error> {
    let dir = dir.canonicalize().map_err(Error::read(dir))?;
    Ok(dir.parent().unwrap_or(&dir).to_owned())
}

/// The state of a run in a checkpoint.
pub(crate) struct Trained {
    origin: Origin,
    record: Record,
    /// Steps it was trained for.
    steps: usize,
    /// Type of the weights it was trained on.
    pub dtype: Option<DType>,
}

impl Trained {
    /// Reads the checkpoint in the folder `dir`, which must be whole and of a run on `base`.
    ///
    /// # Errors
    /// As [`Origin::of`]; [`Error::Checkpoint`] for a damaged one.
    pub fn read(dir: &Path, base: &Checkpoint) -> Result<Self, Error> {
        let manifest = CheckpointManifest::read(dir)?;
        manifest.verify(dir)?;
        let origin = Origin::of(dir, &manifest, base)?;
        let is_its_own = |dtype: &DType| format!("{dtype:?}") == manifest.run.dtype;
        let dtype = [DType::F32, DType::BF16, DType::F16].into_iter().find(is_its_own);
        Ok(Self { origin, record: read_record(dir)?, steps: manifest.progress.steps, dtype })
    }

    /// Whether it is AdaLoRA's from before its last cut.
    pub fn has_undecided_ranks(&self) -> bool {
        match &self.origin.method {
            MethodSettings::AdaLora(config) => self.steps <= config.last_cut(),
            MethodSettings::Losia(_) | MethodSettings::Lora(_) | MethodSettings::Full(_) => false,
        }
    }

    /// `base`, on an autodiff device, as the run had it, adapters attached.
    ///
    /// # Errors
    /// [`Error::Method`] if the record does not fit the base.
    pub fn attach(&self, base: CausalLm) -> Result<(Tuner, CausalLm), Error> {
        let Origin { method, tuner } = &self.origin;
        Ok(Tuner::resume(method.build()?, tuner.clone(), base, &self.record)?)
    }
}
