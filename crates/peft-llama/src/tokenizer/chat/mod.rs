//! Conversations, and the templates that checkpoints render them with.

mod answers;
mod environment;
mod source;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};

use crate::Error;
use answers::Marked;

/// The name the compiled template has in its environment, and in the messages of its errors.
const NAME: &str = "chat_template";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// The role whose messages a model learns to write.
    pub const ASSISTANT: &str = "assistant";

    /// `content`, said by `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// Whether the assistant speaks.
    pub fn is_answer(&self) -> bool {
        self.role == Self::ASSISTANT
    }
}

/// The Jinja template by which a checkpoint turns a conversation into text, rendered as
/// transformers does: blocks are trimmed, `raise_exception`, `strftime_now`, `tojson` and the
/// methods of Python's strings, lists and dicts are there.
///
/// `strftime_now` tells a fixed date, 26 July 2024, so that training data never depends on the
/// clock; [`with_time`](Self::with_time) sets another.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    path: PathBuf,
    now: i64,
}

/// What templates know beside the messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub bos_token: Option<&'a str>,
    pub eos_token: Option<&'a str>,
    /// Whether the text ends where the assistant is to speak.
    pub add_generation_prompt: bool,
}

impl ChatTemplate {
    /// The template of the checkpoint in the folder `dir`: `chat_template.jinja`, else the key
    /// `chat_template` of `tokenizer_config.json`. With a `name`, the template of that name:
    /// `additional_chat_templates/NAME.jinja`, else that of the list in `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`] where there is none, [`Error::ChatTemplate`] where it is no valid
    /// template, [`Error::Io`], [`Error::Json`] and [`Error::Key`] for its file.
    pub fn from_dir(dir: impl AsRef<Path>, name: Option<&str>) -> Result<Self, Error> {
        let (source, path) = source::find(dir.as_ref(), name)?;
        Self::new(&source, path)
    }

    /// The template in the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::ChatTemplate`] where it is no valid template.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let source = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        Self::new(&source, path)
    }

    /// Compiles `source`; errors name `path` as its file.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] where it is no valid template.
    pub fn new(source: &str, path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let refuse = |e: minijinja::Error| Error::ChatTemplate {
            path: path.clone(),
            reason: environment::explain(&e),
        };
        let mut environment = environment::new().map_err(refuse)?;
        environment.add_template_owned(NAME, answers::mark(source)).map_err(refuse)?;
        Ok(Self { environment, source: source.into(), path, now: environment::DEFAULT_TIME })
    }

    /// Makes `strftime_now` tell `time`, in UTC.
    pub fn with_time(mut self, time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.now = i64::try_from(since.as_secs()).unwrap_or(environment::DEFAULT_TIME);
        environment::set_time(&mut self.environment, self.now);
        self
    }

    /// Writes the template into the folder `dir` as `chat_template.jinja`, which goes before every
    /// other there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        let path = dir.as_ref().join(source::FILE);
        std::fs::write(&path, &self.source).map_err(Error::io(&path))
    }

    /// Everything a rendering depends on beside its arguments, for fingerprints.
    pub(super) fn definition(&self) -> String {
        format!("{}\n{}", self.now, self.source)
    }

    fn render(
        &self,
        messages: &[ChatMessage],
        surroundings: Surroundings<'_>,
    ) -> Result<Marked, Error> {
        let refuse = |e: minijinja::Error| self.refuse(environment::explain(&e));
        let context = context! {
            messages => messages.iter().map(value).collect::<Vec<_>>(),
            bos_token => token(surroundings.bos_token),
            eos_token => token(surroundings.eos_token),
            add_generation_prompt => surroundings.add_generation_prompt,
            tools => (),
            documents => (),
        };
        let template = self.environment.get_template(NAME).map_err(refuse)?;
        answers::unmark(&template.render(context).map_err(refuse)?)
            .ok_or_else(|| self.refuse("its `generation` blocks are nested or left open".into()))
    }

    fn refuse(&self, reason: String) -> Error {
        Error::ChatTemplate { path: self.path.clone(), reason }
    }
}

fn value(message: &ChatMessage) -> Value {
    Value::from_pairs([("role", &message.role), ("content", &message.content)])
}

/// Templates may ask whether a token is defined.
fn token(text: Option<&str>) -> Value {
    text.map_or(Value::UNDEFINED, Value::from)
}
