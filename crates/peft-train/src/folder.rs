//! Folders that appear whole or not at all.

use std::path::Path;

use burn::tensor::DType;
use peft_core::store::AdapterFile;
use peft_llama::{CausalLm, Checkpoint, copy_tokenizer_files, save};

use crate::Error;

/// Writes `model`, made from the model of `base`, into the folder `dir` as a checkpoint that needs
/// no other: weights as `dtype`, or as they are, above 5 GB in several files, and the tokenizer. An
/// earlier folder, which may be that of `base`, is replaced by the whole new one.
///
/// # Errors
/// [`Error::Model`] and [`Error::Io`], with the file named.
pub fn write_model(
    model: &CausalLm,
    base: &Checkpoint,
    dir: &Path,
    dtype: Option<DType>,
) -> Result<(), Error> {
    replace(dir, |new| {
        save(model, base.config(), new, dtype)?;
        Ok(copy_tokenizer_files(base.dir(), new)?)
    })
}

/// Writes an adapter into the folder `dir`, in place of an earlier folder.
///
/// # Errors
/// [`Error::Method`] and [`Error::Io`], with the file named.
pub fn write_adapter(adapter: &AdapterFile, dir: &Path) -> Result<(), Error> {
    replace(dir, |new| {
        std::fs::create_dir(new).map_err(Error::write(new))?;
        Ok(adapter.write(new)?)
    })
}

/// Fills a folder beside `dir` and puts it in its place.
fn replace(dir: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::write(parent))?;
    let staged = tempfile::Builder::new().prefix(".staged-").tempdir_in(parent);
    let staged = staged.map_err(Error::write(dir))?;
    let new = staged.path().join("new");
    fill(&new)?;
    if dir.exists() {
        std::fs::rename(dir, staged.path().join("old")).map_err(Error::write(dir))?;
    }
    std::fs::rename(&new, dir).map_err(Error::write(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_by_a_whole_one_only() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("final");
        let fill = |content: &'static str| {
            move |new: &Path| {
                std::fs::create_dir(new).map_err(Error::write(new))?;
                std::fs::write(new.join("file"), content).map_err(Error::write(new))
            }
        };
        let content = || std::fs::read_to_string(dir.join("file")).unwrap();
        replace(&dir, fill("old")).unwrap();
        replace(&dir, fill("new")).unwrap();
        assert_eq!(content(), "new");
        let failed = replace(&dir, |new| {
            fill("broken")(new)?;
            Err(Error::MultipleDevices)
        });
        assert!(failed.is_err());
        assert_eq!(content(), "new");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
