//! A run that is ready, from its launch to its end.

use std::time::Instant;

use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;
use peft_core::ParamCounts;
use peft_llama::CausalLm;

use super::claim::Claim;
use super::finish::{Finished, finish};
use super::outcome::{About, Outcome};
use super::plan::RunPlan;
use super::prepare::prepare;
use super::training::Training;
use crate::Error;
use crate::panics::on_device;
use crate::report::RunStatus;

/// A model with a method attached, ready to be trained.
pub struct Run {
    pub(super) model: CausalLm,
    pub(super) training: Training,
    pub(super) about: Option<About>,
}

impl Run {
    /// Attaches the plan's method to `model`, which holds the original weights even where the run
    /// goes on from a checkpoint. Takes the output folder for itself until the run is dropped, and
    /// removes what a killed process left there.
    ///
    /// # Errors
    /// [`Error::DataParallelSize`], [`Error::MainDevice`] or [`Error::FewSamples`] for devices that
    /// do not fit; [`Error::Method`] for what the method refuses; [`Error::Checkpoint`] for a
    /// checkpoint that is damaged or belongs to another run; [`Error::OutputDirInUse`] if a run is to
    /// begin where there is the work of another, [`Error::OutputDirLocked`] if another is at work
    /// there; [`Error::BaseReplaced`], [`Error::NoValidation`], [`Error::EarlyStopping`],
    /// [`Error::TotalSteps`], [`Error::Io`].
    pub fn new(model: CausalLm, plan: RunPlan<'_>) -> Result<Self, Error> {
        prepare(model, plan, None)
    }

    /// [`new`](Self::new) in a folder that is this run's already, with what its report is to say.
    pub(crate) fn claimed(
        model: CausalLm,
        plan: RunPlan<'_>,
        claim: Claim,
        about: About,
    ) -> Result<Self, Error> {
        Ok(Self { about: Some(about), ..prepare(model, plan, Some(claim))? })
    }

    /// Sizes of the model.
    pub fn counts(&self) -> ParamCounts {
        self.training.session.lock().tuner.counts()
    }

    /// Paths of the adapted weights, in the order of the model.
    pub fn adapted(&self) -> Vec<String> {
        self.training.session.lock().tuner.adapted().to_vec()
    }

    /// A handle that stops the run after the present step, or in the middle of accumulating one.
    /// A checkpoint of the last finished step is written, and [`launch`](Self::launch) returns.
    pub fn interrupter(&self) -> Interrupter {
        self.training.session.lock().interrupter.clone()
    }

    /// What the Learner takes for its epochs, as far as they have ended.
    pub(crate) fn ended_segments(&self) -> usize {
        self.training.session.lock().ended_segments()
    }

    /// Trains to the end, and keeps `run.json` in the output folder up to date: `running` first,
    /// then how it ended. Progress goes to `renderer`; `None` is burn-train's own choice: its
    /// terminal dashboard where standard output is a terminal. With `eval_steps`, what the dashboard
    /// counts as an epoch ends at each validation, too.
    ///
    /// A step whose loss or gradients are not finite is skipped: weights, moments, importance and
    /// schedules stay as they were, and the next batches take that step. Its batches count as
    /// consumed: the run takes all its steps, the last of them with batches of a further epoch.
    /// PyTorch's automatic mixed precision lets schedules go on instead; here decisions belong to
    /// certain steps (a subnet moves, ranks are cut), and none may be missed.
    ///
    /// A checkpoint of the last step is written before the model is merged, with or without
    /// `save_steps`. If it cannot be written, that is a note.
    ///
    /// # Errors
    /// The first error of a step, a log or a checkpoint; [`Error::Diverged`] after too many skipped
    /// steps; [`Error::Unmerged`]; [`Error::Training`] for the Learner's errors and panics.
    pub fn launch(self, renderer: Option<Box<dyn MetricsRenderer>>) -> Result<Finished, Error> {
        self.launch_then(renderer, |_| Ok(()))
    }

    /// [`launch`](Self::launch), with `write` for what must be on the disk before a run counts as
    /// completed. An interrupted run is not written.
    ///
    /// # Errors
    /// Those of `launch`, and of `write` as [`Error::Unwritten`].
    pub(crate) fn launch_then(
        self,
        renderer: Option<Box<dyn MetricsRenderer>>,
        write: impl FnOnce(&Finished) -> Result<(), Error>,
    ) -> Result<Finished, Error> {
        let start = Instant::now();
        let session = self.training.session.clone();
        let outcome = Outcome::of(&self, start);
        outcome.report(RunStatus::Running, &session.lock())?;
        let trained = self.training.run(self.model, renderer);
        let finished = trained.and_then(|model| finish(model, &session, start));
        let result = finished.and_then(|finished| written(finished, write));
        match &result {
            Ok(finished) => outcome.report(finished.status, &session.lock())?,
            // The run's error is the one to return, also where the folder cannot be written.
            Err(error) => _ = outcome.failed(error, &session.lock()),
        }
        result
    }
}

fn written(
    finished: Finished,
    write: impl FnOnce(&Finished) -> Result<(), Error>,
) -> Result<Finished, Error> {
    let written = match finished.status {
        RunStatus::Completed => on_device(|| write(&finished)),
        _ => Ok(()),
    };
    let unwritten = |source| {
        let checkpoint = finished.checkpoint.clone();
        Error::Unwritten { source: Box::new(source), checkpoint }
    };
    written.map_err(unwritten)?;
    Ok(finished)
}
