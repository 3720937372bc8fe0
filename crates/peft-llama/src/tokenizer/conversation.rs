//! Conversations to token ids.

use std::ops::Range;

use super::chat::Surroundings;
use super::{ChatMessage, ChatTemplate, Tokenizer};
use crate::Error;

/// The tokens of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChat {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`: whether a token is part of what the assistant said.
    pub assistant_mask: Vec<bool>,
}

impl Tokenizer {
    /// Renders conversations with `template` from now on.
    pub fn with_chat_template(mut self, template: ChatTemplate) -> Self {
        self.chat_template = Some(template);
        self
    }

    /// The template that conversations are rendered with.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    /// The text of a conversation, which names its special tokens itself. With
    /// `add_generation_prompt` it ends where the assistant is to speak.
    ///
    /// # Errors
    /// [`Error::ChatTemplateUnset`] without a template, [`Error::ChatTemplate`] where the
    /// template refuses the conversation.
    pub fn apply_chat_template(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, Error> {
        self.with_surroundings(add_generation_prompt, |template, surroundings| {
            template.text(messages, surroundings)
        })
    }

    /// Token ids of a conversation that the assistant is to continue. No BOS is added to what the
    /// template renders.
    ///
    /// # Errors
    /// As [`apply_chat_template`](Self::apply_chat_template), and [`Error::Text`].
    pub fn encode_chat_prompt(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        self.encode_plain(&self.apply_chat_template(messages, true)?)
    }

    /// Token ids of a whole conversation, and which of them the assistant said. No token is added
    /// to what the template renders. A token that straddles the border of an answer belongs to it.
    ///
    /// # Errors
    /// As [`apply_chat_template`](Self::apply_chat_template), [`Error::Text`], and
    /// [`Error::UnstableChatTemplate`] where the rendering does not tell who said what.
    pub fn encode_chat(&self, messages: &[ChatMessage]) -> Result<EncodedChat, Error> {
        let rendered = self.with_surroundings(false, |template, surroundings| {
            template.answers(messages, surroundings)
        })?;
        let encoding = self.inner.encode(rendered.text, false);
        let encoding = encoding.map_err(|e| Error::Text { reason: e.to_string() })?;
        let said = |&(start, end): &(usize, usize)| touches(&rendered.blocks, start..end);
        Ok(EncodedChat {
            assistant_mask: encoding.get_offsets().iter().map(said).collect(),
            input_ids: encoding.get_ids().to_vec(),
        })
    }

    fn with_surroundings<T>(
        &self,
        add_generation_prompt: bool,
        render: impl FnOnce(&ChatTemplate, Surroundings<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let template = self.chat_template.as_ref().ok_or(Error::ChatTemplateUnset)?;
        let [bos, eos] = [self.special.bos, self.special.eos]
            .map(|id| id.and_then(|id| self.inner.id_to_token(id)));
        let (bos_token, eos_token) = (bos.as_deref(), eos.as_deref());
        render(template, Surroundings { bos_token, eos_token, add_generation_prompt })
    }
}

/// Whether a token's bytes touch one of `blocks`. A token without bytes counts by its place.
fn touches(blocks: &[Range<usize>], token: Range<usize>) -> bool {
    let end = token.end.max(token.start + 1);
    blocks.iter().any(|block| token.start < block.end && block.start < end)
}
