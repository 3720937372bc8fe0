//! What one object of a dataset says.

use peft_llama::ChatMessage;

/// Text of which a part is to be learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Example {
    /// A prompt and its answer, one text after the other.
    Completion {
        /// The text before the answer; empty for plain text.
        prompt: String,
        /// The text to learn; never blank.
        completion: String,
    },
    /// A conversation, to be rendered by a chat template. What the assistant says is to be learnt;
    /// it says something at least once.
    Chat(Vec<ChatMessage>),
}

impl Example {
    /// A prompt and its answer.
    pub fn completion(prompt: impl Into<String>, completion: impl Into<String>) -> Self {
        Self::Completion { prompt: prompt.into(), completion: completion.into() }
    }

    /// The completion, for tests of what reads one.
    #[cfg(test)]
    pub(super) fn answer(&self) -> &str {
        match self {
            Self::Completion { completion, .. } => completion,
            Self::Chat(messages) => panic!("{messages:?} is no completion"),
        }
    }
}
