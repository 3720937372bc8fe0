//! From a plan to a run that is ready to be trained.

use peft_llama::CausalLm;
use serde_json::{Value, json};

use super::base::Base;
use super::measure::{measured, taken_before};
use super::training::{Activity, Training, Watch};
use super::{Plan, output, tuner_config};
use crate::Error;
use crate::config::TrainingConfig;
use crate::data::Sample;
use crate::panics::on_device;
use crate::report::Scores;
use crate::run::{About, Claim, Run, RunPlan};

impl Plan {
    /// Takes the output folder, loads the base model, measures it on the held-back samples, unless that
    /// was done before the run was resumed, attaches the method, and writes the resolved configuration
    /// into the output folder.
    ///
    /// # Errors
    /// What [`Run::new`] refuses; [`Error::Model`] for weights that cannot be read, [`Error::Device`]
    /// where the device runs out of memory.
    pub fn load(self, watch: Watch<'_>) -> Result<Training, Error> {
        on_device(|| self.loaded(watch))
    }

    fn loaded(self, watch: Watch<'_>) -> Result<Training, Error> {
        let Self { config, base, data, method, steps, notes, .. } = self;
        let report = data.report();
        let taken = taken_before(&config, &report);
        let plan = RunPlan {
            method: method.build()?,
            method_config: method.to_json(),
            tuner_config: tuner_config(&config),
            config: config.train_config(),
            devices: base.devices.clone(),
            train_samples: data.train,
            valid_samples: data.valid.clone(),
            base: Some(base.identity.clone()),
            output_dir: &config.output_dir,
            resume_from: config.resume_from_checkpoint.as_deref(),
        };
        let claim = Claim::of(&plan)?; // before anything takes long
        let (model, before) = model(&base, &data.valid, &config, taken, watch)?;
        let notes =
            notes.into_iter().chain(before.and_then(|scores| scores.note("before training")));
        let about =
            About { config: settings(&config), data: report, before, notes: notes.collect() };
        let run = Run::claimed(model, plan, claim, about)?;
        output::write_config(&TrainingConfig { resume_from_checkpoint: None, ..config.clone() })?;
        let (checkpoint, tokenizer, valid) = (base.checkpoint, base.tokenizer, data.valid);
        Ok(Training { config, steps, checkpoint, tokenizer, valid, before, run })
    }
}

/// The base model and its scores, if they are not known.
fn model(
    base: &Base,
    valid: &[Sample],
    config: &TrainingConfig,
    taken: Option<Scores>,
    watch: Watch<'_>,
) -> Result<(CausalLm, Option<Scores>), Error> {
    let loading = |at: peft_llama::Progress<'_>| {
        watch(Activity::Loading { done: at.bytes_done, total: at.bytes_total });
    };
    let (model, _) = base.checkpoint.load(base.device(), Some(base.dtype.dtype), loading)?;
    let before = match taken {
        Some(_) => taken,
        None => measured(&model, &base.tokenizer, valid, config, watch)?,
    };
    Ok((model, before))
}

/// The settings for `run.json`, without those of other methods.
fn settings(config: &TrainingConfig) -> Value {
    let mut settings = json!(config);
    if let Some(settings) = settings.as_object_mut() {
        settings.retain(|_, value| !value.is_null());
    }
    settings
}
