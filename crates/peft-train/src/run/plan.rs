//! What a run is made of.

use std::path::Path;

use peft_core::{Method, TunerConfig};
use peft_llama::CausalLm;
use serde_json::{Value, json};

use super::config::TrainConfig;
use super::identity::{BaseIdentity, RunIdentity, hash_samples};
use crate::data::Sample;

/// What a run is made of, beside the model.
pub struct RunPlan<'a> {
    /// The method.
    pub method: Box<dyn Method>,
    /// Its configuration, by which a resume recognises the run.
    pub method_config: Value,
    /// What the step does beside the method. Its clipping is that of `config`.
    pub tuner_config: TunerConfig,
    /// Batches, epochs, logs and checkpoints.
    pub config: TrainConfig,
    /// Samples to train on; shuffled by the configuration's seed.
    pub train_samples: Vec<Sample>,
    /// Samples for a validation loss at the end of each whole epoch, in their own order.
    pub valid_samples: Vec<Sample>,
    /// The files the model came from, by which a resume recognises its base; `None` where it came
    /// from no files.
    pub base: Option<BaseIdentity>,
    /// Folder for logs and checkpoints; created if need be.
    pub output_dir: &'a Path,
    /// Folder of the checkpoint to go on from, if any. Later checkpoints in the output folder are
    /// of a future that is given up: they are removed when the run writes its next one.
    pub resume_from: Option<&'a Path>,
}

impl RunPlan<'_> {
    /// By what a resume recognises the run of this plan on `model`.
    pub(super) fn identity(&self, model: &CausalLm) -> RunIdentity {
        RunIdentity {
            method: self.method.name().to_string(),
            config: json!({
                "method": self.method_config,
                "run": self.config.identity(),
                "modules_to_save": self.tuner_config.modules_to_save,
            }),
            samples: self.train_samples.len(),
            data: hash_samples(&self.train_samples),
            dtype: format!("{:?}", model.model.embed_tokens.weight.base().dtype()),
            base: self.base.clone(),
        }
    }
}
