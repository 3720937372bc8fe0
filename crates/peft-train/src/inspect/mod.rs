//! What a folder holds, and whether all of it is in order.
//!
//! [`inspect`] reads every byte: of a model, an adapter, a checkpoint of a run, or a whole run. What is
//! broken, missing or does not fit is an error that names it.

mod adapter;
mod checkpoint;
mod model;
mod run;
mod tensors;

use std::fmt;
use std::path::Path;

use burn::tensor::Device;

use crate::Error;
use crate::config::TypedConfig;
pub use tensors::TensorGroup;

/// What is inspected, beside the folder itself.
#[derive(Clone, Copy)]
pub struct InspectOptions<'a> {
    /// Folder of the base model that an adapter, checkpoint or run must fit. Not for a model.
    pub base: Option<&'a Path>,
    /// A configuration whose method is asked what it would take of a model, and whose base model an
    /// adapter, checkpoint or run must fit, unless `base` is given.
    pub config: Option<&'a TypedConfig>,
    /// A device, which is asked for nothing but small adapters.
    pub device: &'a Device,
}

impl<'a> InspectOptions<'a> {
    /// The base model that was named.
    fn base(&self) -> Option<&'a Path> {
        self.base.or_else(|| self.config.map(|typed| typed.config.base_model.as_path()))
    }
}

/// A folder whose content is in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inspection {
    /// What was found, as labels and texts.
    pub facts: Vec<(&'static str, String)>,
    /// The tensors, those of equal role, shape and type in one line.
    pub tensors: Vec<TensorGroup>,
}

/// Inspects the folder `path`. `watch` is told bytes read and bytes to read of the weights.
///
/// # Errors
/// [`Error::NothingToInspect`] for a folder of none of the known kinds, [`Error::NoBase`] for a model
/// that is to fit a base; otherwise whatever is wrong with it, by name.
pub fn inspect(
    path: &Path,
    options: InspectOptions<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Inspection, Error> {
    match Kind::of(path)? {
        Kind::Adapter => adapter::inspect(path, options),
        Kind::Model if options.base.is_some() => Err(Error::NoBase { path: path.into() }),
        Kind::Model => model::inspect(path, options, watch),
        Kind::Checkpoint => checkpoint::inspect(path, options),
        Kind::Run => run::inspect(path, options, watch),
    }
}

/// What is said of a run's base that is not there any more.
fn gone(base: &Path) -> (&'static str, String) {
    ("base", format!("{} is gone, and nothing was compared with it", base.display()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Adapter,
    Model,
    Checkpoint,
    Run,
}

impl Kind {
    /// By the files that are there: one that is missing must not hide what the others are part of.
    const FILES: [(Self, &'static [&'static str]); 4] = [
        (
            Self::Adapter,
            &[
                "adapter_config.json",
                "adapter_model.safetensors",
                "adapter_model.bin",
                "losia_blocks.safetensors",
            ],
        ),
        (
            Self::Model,
            &["config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"],
        ),
        (Self::Checkpoint, &["manifest.json", "manifest.sha256", "state.safetensors"]),
        (Self::Run, &["config.toml", "run.json", "metrics.jsonl"]),
    ];

    fn of(path: &Path) -> Result<Self, Error> {
        std::fs::metadata(path).map_err(Error::read(path))?;
        let has = |files: &[&str]| files.iter().any(|file| path.join(file).exists());
        let kind = Self::FILES.into_iter().find(|(_, files)| has(files)).map(|(kind, _)| kind);
        kind.ok_or_else(|| Error::NothingToInspect { path: path.into() })
    }
}

impl fmt::Display for Inspection {
    /// Facts first, then tensors, a line each. No newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.facts.iter().map(|(label, text)| format!("{label:<11}{text}"));
        let width = self.tensors.iter().map(|group| group.name.len()).max().unwrap_or(0);
        let tensors = self.tensors.iter().map(|group| group.line(width));
        f.write_str(&facts.chain(tensors).collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_recognised_by_any_of_its_files() {
        for (kind, files) in Kind::FILES {
            for file in files {
                let dir = tempfile::tempdir().unwrap();
                std::fs::write(dir.path().join(file), "").unwrap();
                assert_eq!(Kind::of(dir.path()).unwrap(), kind, "{file}");
            }
        }
    }

    #[test]
    fn other_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Kind::of(dir.path()).unwrap_err();
        assert!(matches!(error, Error::NothingToInspect { .. }), "{error}");
        assert!(error.hint().unwrap().contains("adapter"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Kind::of(&file), Err(Error::NothingToInspect { .. })));
        let error = Kind::of(&dir.path().join("absent")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}
