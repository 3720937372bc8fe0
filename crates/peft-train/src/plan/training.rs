//! A planned run at work.

use std::path::PathBuf;

use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;
use peft_llama::{CausalLm, Checkpoint, Tokenizer};
use serde_json::json;

use super::{Plan, Steps, output, tuner_config};
use crate::Error;
use crate::config::TrainingConfig;
use crate::data::Sample;
use crate::evaluate::evaluate_samples;
use crate::folder::{ADAPTER, FINAL, write_adapter, write_model};
use crate::progress::LinesOptions;
use crate::report::{RunReport, RunStatus, Scores, write_report};
use crate::run::{Finished, Run, RunPlan, caught};

/// What a run is busy with beside training, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Loading the base model: bytes done and in all.
    Loading {
        /// Bytes read.
        done: u64,
        /// Bytes to read.
        total: u64,
    },
    /// Measuring on the held-back samples: samples done and in all.
    Measuring {
        /// Samples measured.
        done: u64,
        /// Samples to measure.
        total: u64,
    },
    /// Writing the adapter and the merged model.
    Saving,
}

/// Is told what a run is busy with.
pub type Watch<'a> = &'a mut dyn FnMut(Activity);

/// A run whose model is loaded and adapted, ready to be trained.
pub struct Training {
    config: TrainingConfig,
    steps: Steps,
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    valid: Vec<Sample>,
    before: Option<Scores>,
    run: Run,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all steps were taken, or it was interrupted.
    pub status: RunStatus,
    /// Optimizer steps taken, those before a resume included.
    pub steps: usize,
    /// Wall time of this process's training, in seconds.
    pub seconds: f64,
    /// Scores on the held-back samples before training, if there are such samples.
    pub before: Option<Scores>,
    /// And after it.
    pub after: Option<Scores>,
    /// Folder of what training changed, where that is no whole model.
    pub adapter: Option<PathBuf>,
    /// Folder of the merged model; `None` for a run that was interrupted.
    pub final_model: Option<PathBuf>,
    /// The checkpoint to go on from, if one was written.
    pub checkpoint: Option<PathBuf>,
}

impl Plan {
    /// Loads the base model, measures it on the held-back samples, attaches the method, and writes
    /// the resolved configuration into the output folder.
    ///
    /// # Errors
    /// What [`Run::new`] refuses; [`Error::Model`] for weights that cannot be read.
    pub fn load(self, watch: Watch<'_>) -> Result<Training, Error> {
        let Self { config, base, data, method, steps, .. } = self;
        let dtype = Some(base.dtype.dtype);
        let loading = |at: peft_llama::Progress<'_>| {
            watch(Activity::Loading { done: at.bytes_done, total: at.bytes_total });
        };
        let (model, _) = base.checkpoint.load(base.device(), dtype, loading)?;
        let before = measured(&model, &base.tokenizer, &data.valid, &config, watch)?;
        let plan = RunPlan {
            method: method.build()?,
            method_config: method.to_json(),
            tuner_config: tuner_config(&config),
            config: config.train_config(),
            devices: base.devices,
            train_samples: data.train,
            valid_samples: data.valid.clone(),
            base: Some(base.identity),
            output_dir: &config.output_dir,
            resume_from: config.resume_from_checkpoint.as_deref(),
        };
        let run = Run::new(model, plan)?;
        output::write_config(&TrainingConfig { resume_from_checkpoint: None, ..config.clone() })?;
        let (checkpoint, tokenizer, valid) = (base.checkpoint, base.tokenizer, data.valid);
        Ok(Training { config, steps, checkpoint, tokenizer, valid, before, run })
    }
}

impl Training {
    /// A handle that stops the run after the present step, with a checkpoint.
    pub fn interrupter(&self) -> Interrupter {
        self.run.interrupter()
    }

    /// Scores on the held-back samples before training, if there are such samples.
    pub fn before(&self) -> Option<Scores> {
        self.before
    }

    /// What a [`LinesRenderer`](crate::progress::LinesRenderer) of this run must know.
    pub fn lines(&self) -> LinesOptions {
        let train = self.config.train_config();
        LinesOptions {
            samples_per_step: train.micro_batch_size.saturating_mul(train.batches_per_step()),
            total_steps: self.steps.total,
            logging_steps: self.config.logging_steps,
        }
    }

    /// Trains to the end and writes what came of it: `adapter/`, `final/` and the scores in
    /// `run.json`. Progress of the training goes to `renderer`, as [`Run::launch`] says.
    ///
    /// # Errors
    /// Those of [`Run::launch`], and of writing.
    pub fn launch(
        self,
        renderer: Option<Box<dyn MetricsRenderer>>,
        watch: Watch<'_>,
    ) -> Result<Outcome, Error> {
        let Self { config, checkpoint, tokenizer, valid, before, run, .. } = self;
        let finished = run.launch(renderer)?;
        let mut outcome = outcome(&finished, before);
        if let Some(model) = finished.model.filter(|_| outcome.status == RunStatus::Completed) {
            watch(Activity::Saving);
            let dir = config.output_dir.join(FINAL);
            write_model(&model, &checkpoint, &dir, None, tokenizer.chat_template())?;
            outcome.final_model = Some(dir);
            if let Some(adapter) = &finished.adapter {
                let dir = config.output_dir.join(ADAPTER);
                write_adapter(adapter, &dir)?;
                outcome.adapter = Some(dir);
            }
            amend_report(&config, &outcome)?; // measuring may fail, and what was trained is safe
            let after = caught(|| measured(&model, &tokenizer, &valid, &config, watch));
            outcome.after = after.map_err(|reason| Error::Device { reason })??;
        }
        amend_report(&config, &outcome)?;
        Ok(outcome)
    }
}

fn outcome(finished: &Finished, before: Option<Scores>) -> Outcome {
    Outcome {
        status: finished.status,
        steps: finished.steps,
        seconds: finished.seconds,
        before,
        after: None,
        adapter: None,
        final_model: None,
        checkpoint: finished.checkpoint.clone(),
    }
}

/// Adds to `run.json` what the run itself does not know, and writes `report.md` from it.
fn amend_report(config: &TrainingConfig, outcome: &Outcome) -> Result<(), Error> {
    let dir = &config.output_dir;
    let report = RunReport::read(dir)?;
    let (before, after) = (outcome.before, outcome.after);
    let mut config = json!(config);
    if let Some(settings) = config.as_object_mut() {
        settings.retain(|_, value| !value.is_null()); // those of other methods
    }
    RunReport { config, before, after, ..report }.write(dir)?;
    write_report(dir).map(drop)
}

fn measured(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    samples: &[Sample],
    config: &TrainingConfig,
    watch: Watch<'_>,
) -> Result<Option<Scores>, Error> {
    if samples.is_empty() {
        return Ok(None);
    }
    let (batch, tokens) = (config.micro_batch_size, config.eval_max_new_tokens);
    let total = samples.len() as u64;
    let progress = |done: usize| watch(Activity::Measuring { done: done as u64, total });
    evaluate_samples(model, tokenizer, samples, batch, tokens, progress).map(Some)
}
