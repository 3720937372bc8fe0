//! What a run is made of.

use std::path::Path;

use burn::tensor::Device;
use peft_core::{Method, TunerConfig};
use peft_llama::CausalLm;
use serde_json::Value;

use super::config::TrainConfig;
use super::identity::{BaseIdentity, RunIdentity, settings};
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
    /// The devices to train on, as many as the configuration's `data_parallel_size`. The first is
    /// that of the model: the method's decisions and steps are made there. Empty for that device
    /// alone. A device may be listed several times.
    pub devices: Vec<Device>,
    /// Samples to train on; shuffled by the configuration's seed.
    pub train_samples: Vec<Sample>,
    /// Samples for a validation loss every `eval_steps` of `config`, else at the end of each whole
    /// epoch, in their own order.
    pub valid_samples: Vec<Sample>,
    /// The files the model came from, by which a resume recognises its base; `None` where it came
    /// from no files.
    pub base: Option<BaseIdentity>,
    /// Folder for logs and checkpoints; created if need be.
    pub output_dir: &'a Path,
    /// Folder of the checkpoint to go on from, if any. Later checkpoints in the output folder are
    /// of a future that is given up: they are removed before the run begins.
    pub resume_from: Option<&'a Path>,
}

impl RunPlan<'_> {
    /// By what a resume recognises the run of this plan on `model`.
    pub(super) fn identity(&self, model: &CausalLm) -> RunIdentity {
        let settings = settings(&self.method_config, &self.config, &self.tuner_config);
        let dtype = model.model.embed_tokens.weight.base().dtype();
        let (method, samples) = (self.method.name(), &self.train_samples);
        RunIdentity::new(method, settings, samples, dtype, self.base.clone())
    }
}
