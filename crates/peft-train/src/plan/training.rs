//! A planned run at work.

use std::path::{Path, PathBuf};

use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;
use peft_llama::{ChatTemplate, Checkpoint, Tokenizer};

use super::Steps;
use super::measure::measured;
use crate::Error;
use crate::config::TrainingConfig;
use crate::data::Sample;
use crate::folder::{ADAPTER, FINAL, write_adapter, write_model};
use crate::panics::on_device;
use crate::progress::LinesOptions;
use crate::report::{RunReport, RunStatus, Scores, write_report};
use crate::run::{Finished, Run};

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
    pub(super) config: TrainingConfig,
    pub(super) steps: Steps,
    pub(super) checkpoint: Checkpoint,
    pub(super) tokenizer: Tokenizer,
    pub(super) valid: Vec<Sample>,
    pub(super) before: Option<Scores>,
    pub(super) run: Run,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whether it was completed or interrupted.
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
    /// What went wrong without stopping the run.
    pub notes: Vec<String>,
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
        LinesOptions::new(&self.config.train_config(), self.steps.samples)
    }

    /// What Burn's dashboard must know of a run that goes on: how many of what it takes for epochs have
    /// ended.
    pub fn ended_segments(&self) -> usize {
        self.run.ended_segments()
    }

    /// Trains to the end and writes what came of it: `adapter/`, then `final/`, and the scores in
    /// `run.json`, which calls the run completed when both are there. Progress of the training goes to
    /// `renderer`, as [`Run::launch`] says. `report.md` tells of a run that failed, too.
    ///
    /// # Errors
    /// Those of [`Run::launch`]; [`Error::Unwritten`] where the result cannot be written: the run can
    /// then be resumed. [`Error::Device`] where the model cannot be measured, after it was written.
    pub fn launch(
        self,
        renderer: Option<Box<dyn MetricsRenderer>>,
        watch: Watch<'_>,
    ) -> Result<Outcome, Error> {
        let output_dir = self.config.output_dir.clone();
        let outcome = self.launched(renderer, watch);
        let report = write_report(&output_dir);
        let outcome = outcome?; // its error is the one to return
        report.map(|_| outcome)
    }

    fn launched(
        self,
        renderer: Option<Box<dyn MetricsRenderer>>,
        watch: Watch<'_>,
    ) -> Result<Outcome, Error> {
        let Self { config, checkpoint, tokenizer, valid, before, run, .. } = self;
        let finished = run.launch_then(renderer, |finished| {
            watch(Activity::Saving);
            write(finished, &checkpoint, tokenizer.chat_template(), &config.output_dir)
        })?;
        let mut outcome = outcome(&finished, &config, before);
        if let Some(model) = &finished.model {
            outcome.after = on_device(|| measured(model, &tokenizer, &valid, &config, watch))?;
            let note = outcome.after.and_then(|scores| scores.note("after training"));
            let mut report = RunReport::read(&config.output_dir)?;
            report.after = outcome.after;
            report.notes.extend(note.clone());
            report.write(&config.output_dir)?;
            outcome.notes.extend(note);
        }
        Ok(outcome)
    }
}

/// Writes what a run has trained, the small part first.
fn write(
    finished: &Finished,
    base: &Checkpoint,
    template: Option<&ChatTemplate>,
    output_dir: &Path,
) -> Result<(), Error> {
    if let Some(adapter) = &finished.adapter {
        write_adapter(adapter, &output_dir.join(ADAPTER))?;
    }
    if let Some(model) = &finished.model {
        let tokenizer = base.dir().join("tokenizer.json"); // it was there when the run began
        std::fs::metadata(&tokenizer).map_err(Error::read(&tokenizer))?;
        write_model(model, base, &output_dir.join(FINAL), None, template)?;
    }
    Ok(())
}

fn outcome(finished: &Finished, config: &TrainingConfig, before: Option<Scores>) -> Outcome {
    let folder = |name, is_written: bool| is_written.then(|| config.output_dir.join(name));
    Outcome {
        status: finished.status,
        steps: finished.steps,
        seconds: finished.seconds,
        before,
        after: None,
        adapter: folder(ADAPTER, finished.adapter.is_some()),
        final_model: folder(FINAL, finished.model.is_some()),
        checkpoint: finished.checkpoint.clone(),
        notes: finished.notes.clone(),
    }
}
