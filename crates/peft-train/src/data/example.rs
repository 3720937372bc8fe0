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

    /// The text to learn; of a conversation, the assistant's last message.
    pub fn answer(&self) -> &str {
        match self {
            Self::Completion { completion, .. } => completion,
            Self::Chat(messages) => messages.get(last_answer(messages)).map_or("", |m| &m.content),
        }
    }
}

/// The place of the assistant's last message; the number of messages where there is none.
pub(crate) fn last_answer(messages: &[ChatMessage]) -> usize {
    messages.iter().rposition(ChatMessage::is_answer).unwrap_or(messages.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_conversation_is_the_assistants_last_word() {
        let turn = |role: &str, content: &str| ChatMessage::new(role, content);
        let messages = vec![
            turn("user", "a"),
            turn("assistant", "b"),
            turn("user", "c"),
            turn("assistant", "d"),
            turn("user", "e"),
        ];
        assert_eq!(last_answer(&messages), 3);
        assert_eq!(Example::Chat(messages).answer(), "d");
        assert_eq!(Example::completion("a", "b").answer(), "b");
        assert_eq!(Example::Chat(vec![turn("user", "a")]).answer(), "");
    }
}
