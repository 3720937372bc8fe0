//! An adapter folded into its base model, from folder to folder.

use std::path::Path;

use burn::tensor::Device;
use peft_core::store::AdapterFile;
use peft_llama::{CausalLm, Checkpoint, Progress};

use crate::Error;
use crate::folder::write_model;

/// The model of the folder `base` on `device`, with the adapter of the folder `adapter`, if one is
/// given, attached or added to its weights. Whether they fit is checked before weights are read.
///
/// # Errors
/// [`Error::Model`] for the base, [`Error::Method`] for the adapter, [`Error::AdapterMisfit`].
pub fn load_adapted(
    base: &Checkpoint,
    adapter: Option<&Path>,
    device: &Device,
    progress: impl FnMut(Progress<'_>),
) -> Result<CausalLm, Error> {
    let file = adapter.map(|dir| read_fitting(dir, base, device)).transpose()?;
    let (model, _) = base.load(&device.clone().autodiff(), None, progress)?;
    match file {
        Some(file) => Ok(file.attach(model)?),
        None => Ok(model),
    }
}

/// Folds the adapter of the folder `adapter` into the model of the folder `base`, and writes the
/// result into the folder `out`, which must hold no model yet, as a checkpoint that needs neither:
/// with tokenizer, in the type of the base, above 5 GB in several files. `out` appears whole or not
/// at all.
///
/// # Errors
/// [`Error::Model`] for the base and for `out`, [`Error::Method`] for the adapter,
/// [`Error::AdapterMisfit`], [`Error::Io`].
pub fn merge(
    base: &Path,
    adapter: &Path,
    out: &Path,
    device: &Device,
    progress: impl FnMut(Progress<'_>),
) -> Result<(), Error> {
    if out.exists() {
        return Err(peft_llama::Error::Exists { path: out.into() }.into());
    }
    let base = Checkpoint::open(base)?;
    let file = read_fitting(adapter, &base, device)?;
    let stored = base.dtype_on(device, None)?.requested;
    let (model, _) = base.load(&device.clone().autodiff(), None, progress)?;
    let merged = file.merge(model)?;
    write_model(&merged, &base, out, Some(stored), None)
}

/// The adapter in the folder `dir`, if it fits `base`.
fn read_fitting(dir: &Path, base: &Checkpoint, device: &Device) -> Result<AdapterFile, Error> {
    base.check(device)?;
    let file = AdapterFile::read(dir)?;
    let catalogue = base.config().catalogue(&device.clone().autodiff());
    let misfit = |source| Error::AdapterMisfit { path: dir.into(), source };
    file.check(&catalogue).map_err(misfit)?;
    Ok(file)
}
