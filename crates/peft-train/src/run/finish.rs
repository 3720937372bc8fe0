//! The end of a run: merging, and the proof that the merged model is the trained one.

use std::time::Instant;

use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};
use peft_core::store::AdapterFile;
use peft_llama::CausalLm;

use super::session::Session;
use crate::Error;
use crate::report::RunStatus;

/// Tokens of the sample that both models are asked about.
pub(super) const PROBE_TOKENS: usize = 64;

/// A finished run.
pub struct Finished {
    /// The trained model, merged, without autodiff.
    pub model: CausalLm,
    /// What training changed, as a file others read; `None` where that is whole weights.
    pub adapter: Option<AdapterFile>,
    /// How it ended.
    pub status: RunStatus,
    /// Optimizer steps taken, those before a resume included.
    pub steps: usize,
    /// Wall time of this process's training.
    pub seconds: f64,
    /// Real training tokens seen by this process.
    pub tokens: usize,
}

pub(super) fn finish(
    model: CausalLm,
    session: &Session,
    start: Instant,
) -> Result<Finished, Error> {
    let mut state = session.lock();
    if let Some(error) = state.error.take() {
        return Err(error);
    }
    let steps = state.tuner.steps();
    let status = match steps >= state.total_steps {
        true => RunStatus::Completed,
        false => RunStatus::Interrupted,
    };
    let adapter = state.tuner.export(&model)?;
    let merged = state.tuner.merge(model.clone())?;
    verify(&model, &merged, &state.probe)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Finished { model: merged, adapter, status, steps, seconds, tokens: state.tokens })
}

/// Refuses a merged model that does not say what the adapted one says: to within rounding, which
/// for half-precision weights is coarse.
fn verify(adapted: &CausalLm, merged: &CausalLm, probe: &[u32]) -> Result<(), Error> {
    let weight = merged.model.embed_tokens.weight.base();
    let bound = match weight.dtype() {
        DType::BF16 | DType::F16 => 0.1,
        _ => 1e-3,
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
