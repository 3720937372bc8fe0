//! What the data needs of a tokenizer.

use std::error::Error;

use peft_llama::{ChatMessage, EncodedChat, Tokenizer};

/// A tokenizer, as the data sees it.
pub trait Encode: Sync {
    /// The ids of `text`, without special tokens around it.
    ///
    /// # Errors
    /// The tokenizer's own, when it cannot encode the text.
    fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn Error + Send + Sync>>;

    /// The ids of a conversation, special tokens included, and which of them the assistant said.
    ///
    /// # Errors
    /// The tokenizer's own, when it has no chat template or the template refuses the conversation.
    fn encode_chat(
        &self,
        messages: &[ChatMessage],
    ) -> Result<EncodedChat, Box<dyn Error + Send + Sync>>;

    /// The token every text begins with, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// The token that ends an answer, if the model has one.
    fn eos(&self) -> Option<u32>;
}

impl Encode for Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn Error + Send + Sync>> {
        Ok(self.encode_plain(text)?)
    }

    fn encode_chat(
        &self,
        messages: &[ChatMessage],
    ) -> Result<EncodedChat, Box<dyn Error + Send + Sync>> {
        Ok(Tokenizer::encode_chat(self, messages)?)
    }

    fn bos(&self) -> Option<u32> {
        self.bos_token_id()
    }

    fn eos(&self) -> Option<u32> {
        self.eos_token_id()
    }
}
