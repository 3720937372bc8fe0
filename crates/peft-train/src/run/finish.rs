//! The end of a run: its last checkpoint, then merging, and the proof that the merged model is the
//! trained one.

use std::path::{Path, PathBuf};
use std::time::Instant;

use peft_core::store::AdapterFile;
use peft_llama::CausalLm;

use super::session::Session;
use super::state::State;
use crate::Error;
use crate::folder::{ADAPTER, write_adapter};
use crate::panics::on_device;
use crate::report::RunStatus;
use crate::verify::Answer;

/// PEFT's name of what the models here do.
const TASK: &str = "CAUSAL_LM";

/// A finished run.
pub struct Finished {
    /// The trained model, merged, without autodiff. `None` for a run that was interrupted, which goes
    /// on from its checkpoint.
    pub model: Option<CausalLm>,
    /// What training changed, as a file others read; `None` where that is whole weights, and where
    /// there is no model.
    pub adapter: Option<AdapterFile>,
    /// How it ended.
    pub status: RunStatus,
    /// Optimizer steps taken, those before a resume included.
    pub steps: usize,
    /// Steps skipped because their loss or gradients were not finite, likewise.
    pub skipped_steps: usize,
    /// The newest checkpoint: that of the last step, unless a note says that it was not written.
    pub checkpoint: Option<PathBuf>,
    /// The lowest validation loss, and its checkpoint if it was written.
    pub best: Option<(f64, Option<PathBuf>)>,
    /// Wall time of this process's training.
    pub seconds: f64,
    /// Real training tokens seen by this process.
    pub tokens: usize,
    /// What went wrong without stopping the run.
    pub notes: Vec<String>,
}

/// Ends the run whose model is `model`: writes the last checkpoint, then merges. An interrupted run is
/// not merged: it is to end soon, and there may be no memory for it.
///
/// # Errors
/// [`Error::Unsaved`] for an interrupted run; [`Error::Diverged`]; [`Error::Unmerged`] where a trained
/// model cannot be merged: what was trained is then in a checkpoint and, if possible, in an adapter's
/// file.
pub(super) fn finish(
    model: CausalLm,
    session: &Session,
    start: Instant,
) -> Result<Finished, Error> {
    let mut state = session.lock();
    let saved = state.save(&model).map(drop);
    if !state.is_finished() {
        saved?;
        return Ok(finished(&state, RunStatus::Interrupted, start, None));
    }
    match saved {
        Err(error @ Error::Diverged { .. }) => return Err(error),
        Err(error) => state.notes.push(error.to_string()), // the result may still fit on the disk
        Ok(()) => (),
    }
    let early = state.stopped_early();
    state.notes.extend(early);
    match on_device(|| conclude(&state, &model)) {
        Ok(concluded) => Ok(finished(&state, RunStatus::Completed, start, Some(concluded))),
        Err(error) => Err(rescue(&state, &model, error)),
    }
}

/// The merged model, and the adapter's file.
type Concluded = (CausalLm, Option<AdapterFile>);

fn conclude(state: &State, model: &CausalLm) -> Result<Concluded, Error> {
    let adapter = export(state, model)?;
    let merged = state.tuner.merge(model.clone())?;
    Answer::to(model, &state.probe).check(&merged, &state.probe)?;
    Ok((merged, adapter))
}

/// What training changed, with the names by which PEFT finds the base and the class of its model.
fn export(state: &State, model: &CausalLm) -> Result<Option<AdapterFile>, Error> {
    let mut adapter = state.tuner.export(model)?;
    if let Some(AdapterFile::Peft(files)) = &mut adapter {
        let base = state.saver.run.base.as_ref();
        files.config.base_model_name_or_path = base.map(|base| base.dir.display().to_string());
        files.config.task_type = Some(TASK.into());
    }
    Ok(adapter)
}

/// Puts what a failed merge must not lose into an adapter's file, beside the checkpoint, unless its
/// ranks are not decided.
fn rescue(state: &State, model: &CausalLm, error: Error) -> Error {
    let dir = state.saver.output_dir.join(ADAPTER);
    let write = |adapter: AdapterFile| write_adapter(&adapter, &dir).ok();
    let adapter = match &error {
        Error::Method(peft_core::Error::NotAllocated { .. }) => None,
        _ => on_device(|| export(state, model)).ok().flatten().and_then(write).map(|_| dir),
    };
    let checkpoint = state.saver.last_path().map(Path::to_owned);
    Error::Unmerged { source: Box::new(error), checkpoint, adapter }
}

fn finished(
    state: &State,
    status: RunStatus,
    start: Instant,
    concluded: Option<Concluded>,
) -> Finished {
    let (model, adapter) = match concluded {
        Some((model, adapter)) => (Some(model), adapter),
        None => (None, None),
    };
    let best = state.evaluations.best.map(|best| (best.eval_loss, state.saver.best_path()));
    Finished {
        model,
        adapter,
        status,
        steps: state.tuner.steps(),
        skipped_steps: state.skips.total,
        checkpoint: state.saver.last_path().map(Path::to_owned),
        best,
        seconds: start.elapsed().as_secs_f64(),
        tokens: state.tokens,
        notes: state.notes.clone(),
    }
}
