//! Adapter files: folders of Hugging Face PEFT (`adapter_config.json` and
//! `adapter_model.safetensors`), and LoSiA's own.
//!
//! Adapters are data here, tensors on the host by module path: nothing in this module knows how a
//! method trains, and only [`SettledBlocks::apply`] touches a model.
//!
//! ```no_run
//! use peft_core::store::{AdapterFiles, PeftType};
//!
//! # fn example() -> Result<(), peft_core::Error> {
//! let adapter = AdapterFiles::read("path/to/adapter")?;
//! if let PeftType::Lora(lora) = &adapter.config.peft_type {
//!     println!("LoRA of rank {} on {} modules", lora.r, adapter.modules.len());
//! }
//! adapter.write("path/to/copy")
//! # }
//! ```

mod absorb;
mod any;
mod blocks;
mod combine;
mod config;
mod fields;
mod files;
mod fit;
mod misfit;
mod modules;
mod names;
mod patterns;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use crate::Error;
pub use any::AdapterFile;
pub use blocks::SettledBlocks;
pub use config::{AdaLoraFields, AdapterConfig, InitLoraWeights, LoraFields, PeftType};
use files::Staged;
pub(crate) use misfit::{half_tied, misfit};
pub use modules::ModuleTensors;
pub use patterns::Patterns;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const PICKLED: &str = "adapter_model.bin";

/// What an adapter folder of PEFT holds.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    /// Its configuration.
    pub config: AdapterConfig,
    /// Adapters by module path, such as `model.layers.0.self_attn.q_proj`.
    pub modules: BTreeMap<String, ModuleTensors>,
    /// Parameters stored whole, by parameter path: those of `modules_to_save`, and of the modules
    /// `embed_tokens` and `lm_head`, which PEFT stores when a vocabulary was extended. Shapes are
    /// PyTorch's, `[out, in]` for a linear weight.
    pub other: BTreeMap<String, TensorData>,
}

impl AdapterFiles {
    /// Reads the adapter in the folder `dir`, and checks it: names, shapes and types of its
    /// tensors against its configuration, whose values must be in range and ask for nothing that
    /// this crate does not compute.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Key`], [`Error::Unsupported`] and [`Error::StoredTensor`], each
    /// with the file named.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let path = dir.as_ref().join(CONFIG);
        let config = AdapterConfig::parse(&files::read_text(&path)?, &path)?;
        let path = dir.as_ref().join(WEIGHTS);
        refuse_pickled(dir.as_ref(), &path)?;
        let (modules, other) = names::sort(&config, files::read_tensors(&path)?, &path)?;
        fit::check(&config, &modules, &path)?;
        Ok(Self { config, modules, other })
    }

    /// Checks tensors against the configuration, as reading a file does.
    pub(crate) fn check(&self) -> Result<(), Error> {
        fit::check(&self.config, &self.modules, Path::new(WEIGHTS))
    }

    /// Writes the adapter into the folder `dir`, which must exist, as PEFT would. An adapter that
    /// is there already is replaced; one that cannot be written whole leaves it as it is.
    ///
    /// # Errors
    /// Those of [`read`](Self::read): what could not be read again is not written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        let path = dir.as_ref().join(WEIGHTS);
        fit::check(&self.config, &self.modules, &path)?;
        let tensors = names::flatten(&self.config, &self.modules, &self.other, &path)?;
        let tensors = files::tensor_bytes(&path, &tensors)?;
        let config_path = dir.as_ref().join(CONFIG);
        let config = self.config.to_json(&config_path)?;
        let tensors = Staged::new(&path, &tensors)?;
        let config = Staged::new(&config_path, config.as_bytes())?;
        tensors.commit()?;
        config.commit()
    }
}

fn refuse_pickled(dir: &Path, weights: &Path) -> Result<(), Error> {
    let pickled = dir.join(PICKLED);
    match pickled.exists() && !weights.exists() {
        false => Ok(()),
        true => Err(Error::File {
            path: pickled,
            problem: "is a pickled checkpoint, which can run code when it is read".into(),
            hint: "load it with PEFT and save it with `safe_serialization=True`",
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tempfile::TempDir;

    use super::testing::{adapter, case, tensor};
    use super::*;

    fn text(path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn recorded_adapters_are_written_as_peft_wrote_them() {
        for name in ["lora_tiny", "dora_tiny", "adalora_tiny"] {
            let (from, to) = (case(name), TempDir::new().unwrap());
            AdapterFiles::read(&from).unwrap().write(&to).unwrap();
            let config: Value = serde_json::from_str(&text(from.join(CONFIG))).unwrap();
            let written = text(to.path().join(CONFIG));
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), config, "{name}");
            // The recorded file is indented by one space.
            assert_eq!(written, serde_json::to_string_pretty(&config).unwrap(), "{name}");
            let bytes = |dir: &Path| std::fs::read(dir.join(WEIGHTS)).unwrap();
            assert!(bytes(to.path()) == bytes(&from), "{name}: other tensors");
        }
    }

    #[test]
    fn recorded_adapters_are_read() {
        const PATH: &str = "model.layers.0.mlp.down_proj";
        let lora = AdapterFiles::read(case("lora_tiny")).unwrap();
        assert_eq!((lora.modules.len(), lora.other.len()), (14, 0));
        let ModuleTensors::Lora { a, b, magnitude: None } = &lora.modules[PATH] else { panic!() };
        assert_eq!((a.shape().as_slice(), b.shape().as_slice()), (&[4, 172][..], &[64, 4][..]));

        let dora = AdapterFiles::read(case("dora_tiny")).unwrap();
        let ModuleTensors::Lora { magnitude, .. } = &dora.modules[PATH] else { panic!() };
        assert_eq!(magnitude.as_ref().unwrap().shape().as_slice(), [64]);

        let adalora = AdapterFiles::read(case("adalora_tiny")).unwrap();
        let emptied = &adalora.modules["model.layers.1.self_attn.v_proj"];
        let ModuleTensors::AdaLora { a, b, e } = emptied else { panic!() };
        assert_eq!((a.shape().as_slice(), b.shape().as_slice()), (&[0, 64][..], &[32, 0][..]));
        assert_eq!((e.shape().as_slice(), e.bytes().len()), (&[0, 1][..], 0));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (mut files, dir) = (adapter(), TempDir::new().unwrap());
        files.config.modules_to_save = Some(vec!["norm".into()]);
        files.other.insert("layers.0.norm.weight".into(), tensor(&[3]));
        files.other.insert("lm_head.weight".into(), tensor(&[7, 3]));
        files.write(&dir).unwrap();
        assert_eq!(AdapterFiles::read(&dir).unwrap(), files);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);

        files.config.lora_alpha = 8.0;
        files.write(&dir).unwrap();
        assert_eq!(AdapterFiles::read(&dir).unwrap(), files, "replaced");
    }

    #[test]
    fn an_adapter_that_is_refused_leaves_the_old_one_alone() {
        let (old, dir) = (adapter(), TempDir::new().unwrap());
        old.write(&dir).unwrap();
        let mut new = adapter();
        new.config.lora_alpha = f64::INFINITY;
        new.modules = [("other".to_string(), new.modules["layers.0.q_proj"].clone())].into();
        assert!(matches!(new.write(&dir), Err(Error::Key { .. })));
        new.config.lora_alpha = 1.0;
        new.modules.clear();
        let error = new.write(&dir).unwrap_err().to_string();
        assert!(error.ends_with("adapter_model.safetensors: holds no adapter tensors"), "{error}");
        assert_eq!(AdapterFiles::read(&dir).unwrap(), old);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
    }

    #[test]
    fn absent_files_are_named() {
        let dir = TempDir::new().unwrap();
        let error = |file: &str| {
            let error = AdapterFiles::read(&dir).unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
            error.hint().unwrap()
        };
        assert!(error(CONFIG).contains("exists"));
        adapter().write(&dir).unwrap();
        std::fs::rename(dir.path().join(WEIGHTS), dir.path().join(PICKLED)).unwrap();
        assert!(error("adapter_model.bin: is a pickled").contains("safe_serialization=True"));
        std::fs::remove_file(dir.path().join(PICKLED)).unwrap();
        assert!(error(WEIGHTS).contains("exists"));
    }
}
