//! What training made, folded into its base model, from folder to folder.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device};
use peft_core::store::AdapterFile;
use peft_llama::{CausalLm, Checkpoint, Progress};

use crate::folder::write_model;
use crate::run::CheckpointManifest;
use crate::trained::Trained;
use crate::verify::Answer;
use crate::{Error, staged};

/// A model with what training made of it.
#[derive(Debug)]
pub struct Adapted {
    /// The model, without autodiff.
    pub model: CausalLm,
    /// Whether it is AdaLoRA's from before its last cut, so that it computes with ranks that are not decided:
    /// LoRA by another name, which whoever asked for AdaLoRA should be told of.
    pub undecided_ranks: bool,
}

/// The model of the folder `base` on `device`, with the adapter of the folder `adapter`, if one is
/// given, attached or added to its weights. That folder may also be the checkpoint of
/// a run that a configuration was written for, in its place beside `config.toml`. Whether they fit is
/// checked before weights are read.
///
/// # Errors
/// [`Error::Model`] for the base, [`Error::Method`] for the adapter, [`Error::AdapterMisfit`];
/// [`Error::Checkpoint`] for a checkpoint that is damaged or belongs to another base.
pub fn load_adapted(
    base: &Checkpoint,
    adapter: Option<&Path>,
    device: &Device,
    progress: impl FnMut(Progress<'_>),
) -> Result<Adapted, Error> {
    let change = adapter.map(|dir| Change::read(dir, base, device)).transpose()?;
    let dtype = change.as_ref().and_then(Change::dtype);
    let (model, _) = base.load(&device.clone().autodiff(), dtype, progress)?;
    let undecided_ranks = change.as_ref().is_some_and(Change::has_undecided_ranks);
    let model = match change {
        Some(change) => change.attach(model)?,
        None => model,
    };
    Ok(Adapted { model: model.valid(), undecided_ranks })
}

/// Folds the adapter or checkpoint of the folder `adapter` into the model of the folder `base`, and writes the
/// result into the folder `out`, which must not exist yet, as a checkpoint that needs neither:
/// with tokenizer, in the type of the base, above 5 GB in several files. It is asked about a few tokens
/// before, and refused unless it says what the adapted model does. `out` appears whole or not at all;
/// what an earlier merge left beside it when it was killed is removed.
///
/// # Errors
/// [`Error::Model`] for the base and for `out`, [`Error::Method`] for the adapter,
/// [`Error::AdapterMisfit`], [`Error::Checkpoint`], [`Error::MergeMismatch`], [`Error::Io`].
pub fn merge(
    base: &Path,
    adapter: &Path,
    out: &Path,
    device: &Device,
    progress: impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    staged::clean_up_beside(out)?;
    if out.exists() {
        return Err(peft_llama::Error::Exists { path: out.into() }.into());
    }
    let base = Checkpoint::open(base)?;
    let change = Change::read(adapter, &base, device)?;
    let stored = base.dtype_on(device, None)?.requested;
    let (model, _) = base.load(&device.clone().autodiff(), change.dtype(), progress)?;
    let merged = change.merge(model, &text(base.config().vocab_size))?;
    write_model(&merged, &base, out, Some(stored), None)
}

/// Tokens from all over a vocabulary.
fn text(vocab_size: usize) -> Vec<u32> {
    (0..32).map(|i| (i * vocab_size / 32) as u32).collect()
}

/// What training made of a base model.
enum Change {
    Adapter(AdapterFile),
    Checkpoint(Box<Trained>),
}

impl Change {
    /// That of the folder `dir`, if it fits `base`.
    fn read(dir: &Path, base: &Checkpoint, device: &Device) -> Result<Self, Error> {
        base.check(device)?;
        if CheckpointManifest::exists_in(dir) {
            return Ok(Self::Checkpoint(Box::new(Trained::read(dir, base)?)));
        }
        let file = AdapterFile::read(dir)?;
        let catalogue = base.config().catalogue(&device.clone().autodiff());
        let misfit = |source| Error::AdapterMisfit { path: dir.into(), source };
        file.check(&catalogue).map_err(misfit)?;
        Ok(Self::Adapter(file))
    }

    /// The type of the weights that it was made on, where it must have that.
    fn dtype(&self) -> Option<DType> {
        match self {
            Self::Adapter(_) => None,
            Self::Checkpoint(trained) => trained.dtype,
        }
    }

    fn has_undecided_ranks(&self) -> bool {
        match self {
            Self::Adapter(file) => file.has_undecided_ranks(),
            Self::Checkpoint(trained) => trained.has_undecided_ranks(),
        }
    }

    fn attach(&self, base: CausalLm) -> Result<CausalLm, Error> {
        match self {
            Self::Adapter(file) => Ok(file.attach(base)?),
            Self::Checkpoint(trained) => Ok(trained.attach(base)?.1),
        }
    }

    /// `base` with the change in its weights, which answers to `text` as with the change attached.
    fn merge(&self, base: CausalLm, text: &[u32]) -> Result<CausalLm, Error> {
        let (answer, merged) = match self {
            Self::Adapter(file) => {
                (Answer::to(&file.attach(base.clone())?, text), file.merge(base)?)
            }
            Self::Checkpoint(trained) => {
                let (tuner, model) = trained.attach(base)?;
                (Answer::to(&model, text), tuner.merge(model)?)
            }
        };
        answer.check(&merged, text)?;
        Ok(merged)
    }
}
