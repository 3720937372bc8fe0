//! What can go wrong with a checkpoint, its tokenizer, or a prompt.

#[cfg(test)]
mod texts;

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use thiserror::Error;

/// An error of this crate. [`hint`](Error::hint) says what to do about it, where a person can.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not JSON, or not a JSON object.
    #[error("{}: not a JSON object: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A key of a JSON file is missing, of the wrong type, or holds an impossible value.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key, with its parents: `rope_scaling.factor`.
        key: String,
        /// What was found; `missing` for a missing key.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A file is no readable safetensors file: truncated, or its header lies.
    #[error("{}: not a complete safetensors file: {reason}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A shard named by `model.safetensors.index.json` does not exist.
    #[error("{}: tensor `{tensor}` is said to be in `{shard}`, which is absent", index.display())]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// The first tensor that needs it.
        tensor: String,
    },
    /// The index puts a tensor into a shard that does not hold it.
    #[error("{}: tensor `{tensor}` is said to be in `{shard}`, which lacks it", index.display())]
    NotInShard {
        /// The index file.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// The tensor.
        tensor: String,
    },
    /// Tensors the configuration calls for are absent.
    #[error("{}: missing {}", path.display(), list(names))]
    MissingTensors {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// Tensors are present that the configuration has no place for.
    #[error("{}: unexpected {}", path.display(), list(names))]
    UnexpectedTensors {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration calls for.
    #[error("{}: tensor `{name}` has shape {found:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape the configuration calls for.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a type that is no weight type.
    #[error("{}: tensor `{name}` is {found:?}, expected F32, BF16 or F16", path.display())]
    TensorType {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type in the file.
        found: DType,
    },
    /// The bytes of a tensor could not be read.
    #[error("{}: reading a tensor failed: {reason}", path.display())]
    TensorRead {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor and what happened.
        reason: String,
    },
    /// A model was asked for in a type that is no weight type.
    #[error("`dtype` is {found:?}, expected F32, BF16 or F16")]
    DType {
        /// The type asked for.
        found: DType,
    },
    /// The folder to save into already holds a checkpoint, or weights of one.
    #[error("{}: already exists", path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// The model is not the plain decoder its configuration describes.
    #[error("the model does not fit its configuration: `{name}` is {found}, expected {expected}")]
    ModelMismatch {
        /// The first parameter that differs.
        name: String,
        /// Its shape in the model, or `missing`.
        found: String,
        /// The shape the configuration calls for, or `no such parameter`.
        expected: String,
    },
    /// The weights could not be written.
    #[error("{}: writing failed: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// `tokenizer.json` cannot be used.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint has no chat template of the name asked for.
    #[error("{}: no chat template `{name}`{}", path.display(), found_names(found))]
    NoChatTemplate {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The name; `default` where none was given.
        name: String,
        /// Names of the templates that are there.
        found: Vec<String>,
    },
    /// A conversation was to be tokenized, and no chat template was given to the tokenizer.
    #[error("a conversation needs a chat template, and the tokenizer has none")]
    ChatTemplateUnset,
    /// A chat template is invalid, or refuses a conversation.
    #[error("{}: chat template: {reason}", path.display())]
    ChatTemplate {
        /// The template's file.
        path: PathBuf,
        /// What is wrong, in the template's own words where it raised an exception.
        reason: String,
    },
    /// A chat template renders the beginning of a conversation otherwise once it goes on.
    #[error(
        "{}: rendering message {message} changes the text before it, so answers cannot be told \
         from prompts",
        path.display()
    )]
    UnstableChatTemplate {
        /// The template's file.
        path: PathBuf,
        /// The message's place in the conversation, counted from 1.
        message: usize,
    },
    /// Text or token ids could not be converted.
    #[error("tokenizer: {reason}")]
    Text {
        /// What happened.
        reason: String,
    },
    /// A tensor holds infinities or what is not a number.
    #[error("{}: tensor `{name}` is not finite: element {index} is {value}", path.display())]
    NotFinite {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such element, counted from 0 in the order of the file.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A setting of generation is out of its range.
    #[error("`{key}` is {found}, expected {expected}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// The model's logits are no distribution: some are infinite or not a number.
    #[error("the model's logits are not finite")]
    Logits,
    /// A prompt cannot be continued.
    #[error("prompt {index}: {reason}")]
    Prompt {
        /// Position of the prompt in the batch.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The device failed while results were read back.
    #[error("reading from the device failed: {reason}")]
    Device {
        /// What the backend said.
        reason: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { path, .. } if is_absent_model(path) => {
                "give the folder of a model or, in a config of burn-peft, a name in the Hugging \
                 Face cache; to get one: `hf download ORG/NAME --local-dir DIR`, and name DIR"
            }
            Self::Io { .. } => "check that the path exists and that you may access it",
            Self::Json { .. } | Self::Safetensors { .. } | Self::TensorRead { .. } => {
                "the file is damaged or incomplete: download or write it again"
            }
            Self::MissingShard { .. } | Self::NotInShard { .. } => {
                "the download is incomplete, or the index belongs to another checkpoint"
            }
            Self::Key { key, .. } if key == "model_type" => {
                "the decoders here are LLaMA 2 and 3, Gemma and Gemma 2; later Gemmas and other \
                 families differ"
            }
            Self::Key { .. } => "compare the file with the one published with the checkpoint",
            Self::MissingTensors { names, .. } if names == &["lm_head.weight"] => {
                "if the output head shares the embedding, set `tie_word_embeddings` to true in \
                 config.json"
            }
            Self::MissingTensors { .. }
            | Self::UnexpectedTensors { .. }
            | Self::TensorShape { .. } => {
                "config.json and the weights must come from the same checkpoint"
            }
            Self::TensorType { .. } => {
                "quantised checkpoints are not supported: use the f32, bf16 or f16 version"
            }
            Self::DType { .. } => "use DType::F32, DType::BF16 or DType::F16",
            Self::Exists { .. } => "save into a new folder, or remove the old checkpoint first",
            Self::ModelMismatch { .. } => {
                "merge or detach adapters before saving, and pass the configuration the model was \
                 built from"
            }
            Self::Write { .. } => "check free disk space and permissions",
            Self::Tokenizer { .. } => "use the tokenizer files published with the checkpoint",
            Self::NoChatTemplate { .. } | Self::ChatTemplateUnset => {
                "name a Jinja file as `chat_template`, or use a checkpoint that was made for chat"
            }
            Self::ChatTemplate { .. } => {
                "mend the template, or check the conversation's roles and their order against it"
            }
            Self::UnstableChatTemplate { .. } => {
                "use a template that marks answers with {% generation %} … {% endgeneration %}"
            }
            Self::Prompt { .. } => "encode prompts with the tokenizer of the same checkpoint",
            Self::NotFinite { .. } | Self::Logits => {
                "the model diverged in training, or a file is damaged: use an earlier checkpoint"
            }
            Self::Text { .. } | Self::Device { .. } | Self::Setting { .. } => return None,
        };
        Some(hint.into())
    }

    /// Wraps an I/O error of `path`, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }
}

/// Whether the file `path` would be in a folder that is not there, and reads like a name on the hub:
/// `org/name`. It may as well be the path of a model that was not downloaded yet.
fn is_absent_model(path: &Path) -> bool {
    let is_name = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(known)
    };
    let dir = path.parent().filter(|dir| !dir.exists());
    let parts = dir.and_then(Path::to_str).and_then(|dir| dir.split_once('/'));
    parts.is_some_and(|(org, name)| is_name(org) && is_name(name))
}

fn found_names(found: &[String]) -> String {
    match found {
        [] => String::new(),
        names => format!("; found {}", names.join(", ")),
    }
}

/// `tensor "a"`, or `tensors "a", "b", … and 12 more`.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { "tensor" } else { "tensors" };
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{noun} {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_hub_is_told_from_a_path() {
        let hint = |path: &str| {
            Error::io(Path::new(path))(std::io::ErrorKind::NotFound.into()).hint().unwrap()
        };
        let command = "hf download ORG/NAME --local-dir DIR";
        for path in ["meta-llama/Llama-2-7b-hf/config.json", "src/absent/config.json"] {
            assert!(hint(path).contains(command), "{path}: {}", hint(path));
        }
        for path in ["config.json", "a/config.json", "/a/b/config.json", "../b/config.json"] {
            assert!(hint(path).starts_with("check that the path exists"), "{path}");
        }
        assert!(hint("src/error/config.json").starts_with("check"), "that folder is there");
    }

    #[test]
    fn long_lists_are_cut() {
        let names = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(list(&names(1)), "tensor `0`");
        assert_eq!(list(&names(7)), "tensors `0`, `1`, `2`, `3`, `4` and 2 more");
    }
}
