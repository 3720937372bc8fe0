//! Which checkpoints a run writes and keeps.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Element, TensorData, bf16, f16};
use peft_core::{Record, Tuner};
use peft_llama::CausalLm;

use super::checkpoint::{self, Progress};
use super::identity::RunIdentity;
use crate::Error;
use crate::panics::on_device;
use crate::verify::Answer;

/// Writes the checkpoints of a run into its output folder.
pub(super) struct Saver {
    pub output_dir: PathBuf,
    pub run: RunIdentity,
    pub limit: Option<NonZeroUsize>,
    /// The newest checkpoint, or the one the run was resumed from, and how far the run was.
    pub last: Option<(Progress, PathBuf)>,
    /// Steps taken before the lowest validation loss.
    pub best: Option<usize>,
}

impl Saver {
    /// Writes a checkpoint, unless there is one of this state, and removes those not kept.
    ///
    /// # Errors
    /// [`Error::Unsaved`] where it cannot be written, [`Error::Diverged`] where the state is not
    /// worth it, since something in it is not finite or the model has no answer to `probe`: older
    /// checkpoints are then as they were. [`Error::Io`] where those cannot be removed.
    pub fn save(
        &mut self,
        at: Progress,
        tuner: &Tuner,
        model: &CausalLm,
        optim: &ModuleOptimizer,
        probe: &[u32],
    ) -> Result<PathBuf, Error> {
        if let Some(path) = self.written(|saved_at| saved_at == at) {
            return Ok(path.to_owned());
        }
        let record = tuner.record(model)?;
        if let Some(name) = not_finite(&record) {
            return Err(self.diverged(at.steps, format!("`{name}` is not finite")));
        }
        if !on_device(|| Answer::to(model, probe).is_finite())? {
            let reason = "the trained model's logits are not finite".into();
            return Err(self.diverged(at.steps, reason));
        }
        let written = checkpoint::write(&self.output_dir, &self.run, at, &record, optim);
        let path = written.map_err(|source| Error::Unsaved {
            steps: at.steps,
            source: Box::new(source),
            last: self.last_path().map(Path::to_owned),
        })?;
        self.last = Some((at, path.clone()));
        self.prune(at.steps)?;
        Ok(path)
    }

    /// From now on the state after `steps` steps is the best one.
    ///
    /// # Errors
    /// [`Error::Io`] if a checkpoint that is no longer kept cannot be removed.
    pub fn mark_best(&mut self, steps: usize) -> Result<(), Error> {
        self.best = Some(steps);
        match self.written(|saved_at| saved_at.steps == steps) {
            Some(_) => self.prune(steps),
            None => Ok(()),
        }
    }

    /// The last checkpoint, if it is in the output folder and of the state asked for.
    fn written(&self, is_asked_for: impl FnOnce(Progress) -> bool) -> Option<&Path> {
        let (at, path) = self.last.as_ref()?;
        let here = path.parent() == Some(&*self.output_dir) && is_asked_for(*at);
        here.then_some(path)
    }

    /// The checkpoint of the best state, if it was written.
    pub fn best_path(&self) -> Option<PathBuf> {
        let steps = self.best?;
        let mut written = checkpoint::list(&self.output_dir).ok()?.into_iter();
        written.find(|(at, _)| *at == steps).map(|(_, path)| path)
    }

    /// The checkpoint a resume would go on from.
    pub fn last_path(&self) -> Option<&Path> {
        self.last.as_ref().map(|(_, path)| &**path)
    }

    /// The error of a run whose numbers are no longer finite, at `step`.
    pub fn diverged(&self, step: usize, reason: String) -> Error {
        Error::Diverged { step, reason, last: self.last_path().map(Path::to_owned) }
    }

    fn prune(&self, steps: usize) -> Result<(), Error> {
        checkpoint::prune(&self.output_dir, steps, self.limit, self.best)
    }
}

/// The first tensor that holds an infinity or what is not a number.
fn not_finite(record: &Record) -> Option<&str> {
    record.tensors.iter().find(|(_, data)| !is_finite(data)).map(|(name, _)| &**name)
}

fn is_finite(data: &TensorData) -> bool {
    match data.dtype() {
        DType::F64 => all(data, f64::is_finite),
        DType::F32 => all(data, f32::is_finite),
        DType::F16 => all(data, f16::is_finite),
        DType::BF16 => all(data, bf16::is_finite),
        _ => true,
    }
}

/// Over a slice: a checkpoint may hold billions of values.
fn all<E: Element>(data: &TensorData, test: impl Fn(E) -> bool) -> bool {
    data.as_slice::<E>().is_ok_and(|values| values.iter().all(|value| test(*value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_named() {
        let mut record = Record::default();
        record.tensors.insert("a".into(), TensorData::from([1.0_f32, -1.0]));
        record.tensors.insert("b".into(), TensorData::from([i64::MAX]));
        assert_eq!(not_finite(&record), None);
        record.tensors.insert("c".into(), TensorData::from([bf16::MAX]));
        assert_eq!(not_finite(&record), None);
        record.tensors.insert("d".into(), TensorData::from([0.0_f32, f32::NEG_INFINITY]));
        assert_eq!(not_finite(&record), Some("d"));
        record.tensors.insert("b".into(), TensorData::from([f16::NAN]));
        assert_eq!(not_finite(&record), Some("b"));
    }
}
