//! Hugging Face checkpoints: a folder with `config.json` and safetensors files.

mod fit;
mod free;
mod load;
mod save;
mod shards;
mod split;
mod verify;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use crate::{CausalLm, DecoderConfig, Error};
pub use load::{LoadDType, LoadReport, Progress};
pub use save::{MAX_SHARD_BYTES, copy_tokenizer_files, save, save_sharded};
use shards::Tensors;
pub use verify::TensorHeader;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A checkpoint whose configuration and tensor headers have been read, but no weights yet.
pub struct Checkpoint {
    dir: PathBuf,
    config: DecoderConfig,
    tensors: Tensors,
}

impl Checkpoint {
    /// Reads `config.json` and the headers of `model.safetensors`, or of the shards that
    /// `model.safetensors.index.json` names, in the folder `dir`. The files are memory-mapped and
    /// must not be changed before [`load`](Self::load) is done.
    ///
    /// # Errors
    /// What [`DecoderConfig::from_file`] reports; [`Error::Io`] and [`Error::Safetensors`] for
    /// files that are absent or damaged; [`Error::MissingShard`], [`Error::NotInShard`] and
    /// [`Error::UnexpectedTensors`] where index and shards disagree.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let config = DecoderConfig::from_file(dir.join(CONFIG))?;
        let tensors = shards::read(dir)?;
        Ok(Self { dir: dir.into(), config, tensors })
    }

    /// Folder of the checkpoint.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its configuration.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Builds the model on `device`, tensor by tensor, with `progress` called after each.
    ///
    /// Weights get `dtype`, one of f32, bf16 and f16; with `None`, the type `config.json` names,
    /// or else the one the embedding is stored in. Where the device does not compute in that type
    /// they get f32, and the report says so. All names and shapes are checked before the first
    /// weight is read. Rotary frequencies stored by old checkpoints are ignored, and so is an
    /// output head in a checkpoint whose head is tied.
    ///
    /// # Errors
    /// [`Error::DType`]; [`Error::MissingTensors`], [`Error::UnexpectedTensors`],
    /// [`Error::TensorShape`] and [`Error::TensorType`] where weights and configuration disagree;
    /// [`Error::TensorRead`].
    pub fn load(
        &self,
        device: &Device,
        dtype: Option<DType>,
        progress: impl FnMut(Progress<'_>),
    ) -> Result<(CausalLm, LoadReport), Error> {
        load::load(self, device, dtype, progress)
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use peft_testing::device;
    use tempfile::TempDir;

    /// `model` saved into a new folder.
    pub fn saved(model: &CausalLm, config: &DecoderConfig) -> TempDir {
        let dir = TempDir::new().unwrap();
        save(model, config, dir.path(), None).unwrap();
        dir
    }

    /// The checkpoint in `dir` loaded on the test device.
    pub fn load(dir: &Path, dtype: Option<DType>) -> Result<(CausalLm, LoadReport), Error> {
        Checkpoint::open(dir)?.load(&device(), dtype, |_| ())
    }
}
