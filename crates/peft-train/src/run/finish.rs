//! The end of a run: merging, and the proof that the merged model is the trained one.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};
use peft_core::multiplies_in_f32;
use peft_core::store::AdapterFile;
use peft_llama::CausalLm;

use super::panics::caught;
use super::session::Session;
use super::state::State;
use crate::Error;
use crate::folder::{ADAPTER, write_adapter};
use crate::report::RunStatus;

/// Tokens of the sample that both models are asked about.
pub(super) const PROBE_TOKENS: usize = 64;

/// A finished run.
pub struct Finished {
    /// The trained model, merged, without autodiff. `None` for a run that was interrupted before it
    /// could be merged: AdaLoRA's ranks are not decided before its last cut.
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
    /// The newest checkpoint. An interrupted run always has one of its last step.
    pub checkpoint: Option<PathBuf>,
    /// The lowest validation loss, and its checkpoint if it was written.
    pub best: Option<(f64, Option<PathBuf>)>,
    /// Wall time of this process's training.
    pub seconds: f64,
    /// Real training tokens seen by this process.
    pub tokens: usize,
}

/// Ends the run whose model is `model`: writes the last checkpoint, then merges.
///
/// # Errors
/// [`Error::Unsaved`]; [`Error::Unmerged`] where a trained model cannot be merged: what was trained
/// is then in a checkpoint and, if possible, in an adapter's file.
pub(super) fn finish(
    model: CausalLm,
    session: &Session,
    start: Instant,
) -> Result<Finished, Error> {
    let mut state = session.lock();
    let status = match state.is_done() {
        true => RunStatus::Completed,
        false => RunStatus::Interrupted,
    };
    if status == RunStatus::Interrupted || state.config.save_steps.is_some() {
        state.save(&model)?;
    }
    let concluded = caught(|| conclude(&state, &model));
    let (merged, adapter) = match concluded.map_err(|reason| Error::Device { reason }).flatten() {
        Ok((merged, adapter)) => (Some(merged), adapter),
        Err(Error::Method(peft_core::Error::NotAllocated { .. }))
            if status == RunStatus::Interrupted =>
        {
            (None, None)
        }
        Err(error) => return Err(rescue(&mut state, &model, error)),
    };
    let best = state.saver.best.map(|best| (best.eval_loss, state.saver.best_path()));
    Ok(Finished {
        model: merged,
        adapter,
        status,
        steps: state.tuner.steps(),
        skipped_steps: state.skips.total,
        checkpoint: state.saver.last_path().map(Path::to_owned),
        best,
        seconds: start.elapsed().as_secs_f64(),
        tokens: state.tokens,
    })
}

fn conclude(state: &State, model: &CausalLm) -> Result<(CausalLm, Option<AdapterFile>), Error> {
    let adapter = state.tuner.export(model)?;
    let merged = state.tuner.merge(model.clone())?;
    verify(model, &merged, &state.probe)?;
    Ok((merged, adapter))
}

/// Puts what was trained where a failed merge does not lose it: in a checkpoint, and in an adapter's
/// file unless its ranks are not decided. Where the checkpoint fails too, the merge's error is all
/// there is to say.
fn rescue(state: &mut State, model: &CausalLm, error: Error) -> Error {
    let checkpoint = match state.save(model) {
        Ok(checkpoint) => checkpoint,
        Err(_) => return error,
    };
    let dir = state.saver.output_dir.join(ADAPTER);
    let write = |adapter: AdapterFile| write_adapter(&adapter, &dir).ok();
    let adapter = match &error {
        Error::Method(peft_core::Error::NotAllocated { .. }) => None,
        _ => state.tuner.export(model).ok().flatten().and_then(write).map(|_| dir),
    };
    Error::Unmerged { source: Box::new(error), checkpoint, adapter }
}

/// Refuses a merged model that does not say what the adapted one says: to within rounding, which
/// for half-precision weights is coarse.
fn verify(adapted: &CausalLm, merged: &CausalLm, probe: &[u32]) -> Result<(), Error> {
    let weight = merged.model.embed_tokens.weight.base();
    let bound = match weight.dtype() {
        DType::BF16 | DType::F16 => 0.1,
        _ if multiplies_in_f32(&weight.device()) => 1e-3,
        _ => 1e-2,
    };
    let ids: Vec<i64> = probe.iter().map(|&id| i64::from(id)).collect();
    let ids = TensorData::new(ids, [1, probe.len()]);
    let ids = Tensor::<2, Int>::from_data(ids, &weight.device());
    let logits = |model: &CausalLm| model.forward(ids.clone(), None).cast(FloatDType::F32);
    let want = logits(adapted);
    let scale = want.clone().abs().max();
    let difference = Error::scalar(logits(merged).sub(want).abs().max().div(scale))?;
    match difference <= bound {
        true => Ok(()),
        false => Err(Error::MergeMismatch { difference, bound }), // NaN too
    }
}
