//! An adapter in whichever format its method has.

use std::path::Path;

use burn::tensor::TensorData;

use super::{AdapterFiles, CONFIG, PeftType, SettledBlocks, blocks};
use crate::Error;

/// What a method leaves beside the base model.
#[derive(Debug, Clone, PartialEq)]
pub enum AdapterFile {
    /// In PEFT's format.
    Peft(Box<AdapterFiles>),
    /// LoSiA's settled blocks.
    Losia(SettledBlocks),
}

impl From<AdapterFiles> for AdapterFile {
    fn from(files: AdapterFiles) -> Self {
        Self::Peft(Box::new(files))
    }
}

impl From<SettledBlocks> for AdapterFile {
    fn from(blocks: SettledBlocks) -> Self {
        Self::Losia(blocks)
    }
}

impl AdapterFile {
    /// Whether the folder `dir` has the files of an adapter, be they in order or not.
    pub fn exists_in(dir: impl AsRef<Path>) -> bool {
        [CONFIG, blocks::FILE].iter().any(|name| dir.as_ref().join(name).exists())
    }

    /// Reads the adapter in the folder `dir`, of whichever kind it is.
    ///
    /// # Errors
    /// Those of [`AdapterFiles::read`] and [`SettledBlocks::read`].
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, Error> {
        match dir.as_ref().join(blocks::FILE).exists() {
            true => SettledBlocks::read(dir).map(Self::Losia),
            false => AdapterFiles::read(dir).map(Self::from),
        }
    }

    /// Whether it is an AdaLoRA adapter whose ranks were never decided: it computes with all of them,
    /// as LoRA would.
    pub fn has_undecided_ranks(&self) -> bool {
        match self {
            Self::Peft(files) => match &files.config.peft_type {
                PeftType::AdaLora(fields) => fields.rank_pattern.is_none(),
                PeftType::Lora(_) => false,
            },
            Self::Losia(_) => false,
        }
    }

    /// The tensors by name, without the indices of LoSiA's blocks. Names are those of the weights
    /// and modules they belong to.
    pub fn tensors(&self) -> Vec<(String, &TensorData)> {
        match self {
            Self::Losia(blocks) => {
                blocks.0.iter().map(|block| (block.path.clone(), &block.delta)).collect()
            }
            Self::Peft(files) => {
                let modules = files.modules.iter().flat_map(|(module, tensors)| {
                    let named = tensors.named().into_iter();
                    named.map(move |(end, tensor)| (format!("{module}.{end}"), tensor))
                });
                modules.chain(files.other.iter().map(|(name, t)| (name.clone(), t))).collect()
            }
        }
    }

    /// Writes the adapter into the folder `dir`, which must exist.
    ///
    /// # Errors
    /// [`Error::File`] with the file named.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        match self {
            Self::Peft(adapter) => adapter.write(dir),
            Self::Losia(blocks) => blocks.write(dir),
        }
    }
}
