//! What training made, as folders for others.

use std::path::Path;

use burn::tensor::DType;
use peft_core::store::AdapterFile;
use peft_llama::{CausalLm, ChatTemplate, Checkpoint, copy_tokenizer_files, save};

use crate::Error;
use crate::staged::replace;

/// File of the resolved configuration, in the output folder of a run.
pub(crate) const CONFIG: &str = "config.toml";
/// Folder of the merged model, in the output folder of a run.
pub(crate) const FINAL: &str = "final";
/// Folder of what training changed, in the output folder of a run.
pub(crate) const ADAPTER: &str = "adapter";

/// Writes `model`, made from the model of `base`, into the folder `dir` as a checkpoint that needs
/// no other: weights as `dtype`, or as they are, above 5 GB in several files, and the tokenizer, with
/// `chat_template` in place of the base's if one is given. An earlier folder, which may be that of
/// `base`, is replaced by the whole new one.
///
/// # Errors
/// [`Error::Model`] and [`Error::Io`], with the file named.
pub fn write_model(
    model: &CausalLm,
    base: &Checkpoint,
    dir: &Path,
    dtype: Option<DType>,
    chat_template: Option<&ChatTemplate>,
) -> Result<(), Error> {
    replace(dir, |new| {
        save(model, base.config(), new, dtype)?;
        copy_tokenizer_files(base.dir(), new)?;
        Ok(chat_template.map_or(Ok(()), |template| template.save(new))?)
    })
}

/// Writes an adapter into the folder `dir`, in place of an earlier folder.
///
/// # Errors
/// [`Error::Method`] and [`Error::Io`], with the file named.
pub fn write_adapter(adapter: &AdapterFile, dir: &Path) -> Result<(), Error> {
    replace(dir, |new| Ok(adapter.write(new)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::plan::testing::{repository, tiny_model};

    #[test]
    fn a_saved_model_renders_conversations_as_it_was_trained_to() {
        let dir = tempfile::tempdir().unwrap();
        let source = repository().join("assets/tiny-llama");
        for file in fs::read_dir(source).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        fs::write(dir.path().join("chat_template.jinja"), "of the base").unwrap();
        let (base, (model, _)) = (Checkpoint::open(dir.path()).unwrap(), tiny_model());
        let template = ChatTemplate::new("of the run", "given.jinja").unwrap();
        let saved = dir.path().join("final");
        for (template, want) in [(None, "of the base"), (Some(&template), "of the run")] {
            write_model(&model, &base, &saved, None, template).unwrap();
            assert_eq!(fs::read_to_string(saved.join("chat_template.jinja")).unwrap(), want);
        }
    }
}
