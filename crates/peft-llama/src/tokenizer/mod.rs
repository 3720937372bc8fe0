//! Text to token ids and back.

mod chat;
mod conversation;
mod special;

use std::path::Path;

use tokenizers::{PostProcessorWrapper, Tokenizer as Inner};

use crate::{DecoderConfig, Error};
pub use chat::{ChatMessage, ChatTemplate};
pub use conversation::EncodedChat;
use special::SpecialTokens;

const TOKENIZER: &str = "tokenizer.json";

/// The tokenizer of a checkpoint, with the special tokens the checkpoint asks for.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Inner,
    special: SpecialTokens,
    add_bos: bool,
    add_eos: bool,
    chat_template: Option<ChatTemplate>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in the folder `dir`, and which tokens begin and end a text from
    /// `tokenizer_config.json` and `generation_config.json` where they exist, else from `config`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] and [`Error::Key`]; [`Error::Tokenizer`] where
    /// `tokenizer.json` is broken, or adds tokens other than BOS and EOS to every text.
    pub fn from_dir(dir: impl AsRef<Path>, config: &DecoderConfig) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let path = dir.join(TOKENIZER);
        let mut inner = read(&path)?;
        let special = SpecialTokens::read(dir, config, &inner)?;

        let added = ids(&inner, "", true)?;
        let (bos, eos) = (special.bos, special.eos);
        let is_known = |id: &&u32| Some(**id) == bos || Some(**id) == eos;
        if let Some(id) = added.iter().find(|id| !is_known(id)) {
            let reason = format!("adds token {id} to every text, which is neither BOS nor EOS");
            return Err(Error::Tokenizer { path, reason });
        }
        let adds = |token: Option<u32>| token.is_some_and(|token| added.contains(&token));
        let add_bos = special.add_bos.unwrap_or(adds(bos));
        let add_eos = special.add_eos.unwrap_or(adds(eos));
        // It has been asked what it adds; beyond that it would only trim the offsets of tokens.
        inner.with_post_processor(None::<PostProcessorWrapper>);
        Ok(Self { inner, special, add_bos, add_eos, chat_template: None })
    }

    /// Token ids of `text`, with BOS and EOS added as the checkpoint asks for.
    ///
    /// # Errors
    /// [`Error::Text`] where the text cannot be tokenized.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let bos = self.special.bos.filter(|_| self.add_bos);
        let eos = self.special.eos.filter(|_| self.add_eos);
        let text = self.encode_plain(text)?;
        Ok(bos.into_iter().chain(text).chain(eos).collect())
    }

    /// Token ids of `text` alone. Special tokens written out in the text are still recognised.
    ///
    /// # Errors
    /// [`Error::Text`] where the text cannot be tokenized.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, Error> {
        ids(&self.inner, text, false)
    }

    /// The text of `ids`, without special tokens.
    ///
    /// # Errors
    /// [`Error::Text`] where the ids cannot be decoded.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.inner.decode(ids, true).map_err(|e| Error::Text { reason: e.to_string() })
    }

    /// Token that begins a text.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.special.bos
    }

    /// Token that ends a text, to be learnt by a model.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.special.eos
    }

    /// All tokens that end a generated text.
    pub fn stop_token_ids(&self) -> &[u32] {
        &self.special.stop
    }

    /// Id of the token written as `token`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Everything that decides which ids a text or a conversation gets, for fingerprints.
    ///
    /// # Errors
    /// [`Error::Text`] where the tokenizer cannot be written as JSON.
    pub fn definition(&self) -> Result<String, Error> {
        let inner =
            self.inner.to_string(false).map_err(|e| Error::Text { reason: e.to_string() })?;
        let (special, template) = (&self.special, self.chat_template.as_ref());
        let template = template.map(ChatTemplate::definition).unwrap_or_default();
        Ok(format!("{inner}\n{special:?} {} {}\n{template}", self.add_bos, self.add_eos))
    }

    /// Number of tokens, added ones included. Checkpoints often round the model's up.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

/// `tokenizer.json`, without the truncation and padding it may have been saved with: texts must
/// never be cut silently.
fn read(path: &Path) -> Result<Inner, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let broken =
        |e: tokenizers::Error| Error::Tokenizer { path: path.into(), reason: e.to_string() };
    let mut inner = Inner::from_bytes(bytes).map_err(broken)?;
    inner.with_truncation(None).map_err(broken)?;
    inner.with_padding(None);
    Ok(inner)
}

fn ids(inner: &Inner, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, Error> {
    let encoding = inner.encode_fast(text, add_special_tokens);
    let encoding = encoding.map_err(|e| Error::Text { reason: e.to_string() })?;
    Ok(encoding.get_ids().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::tiny_with;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn special(id: u32, content: &str) -> Value {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        })
    }

    /// Puts the tokens named before and after every text.
    fn template(before: &[(&str, u32)], after: &[(&str, u32)]) -> Value {
        let token = |(name, _): &(&str, u32)| json!({"SpecialToken": {"id": name, "type_id": 0}});
        let mut single: Vec<_> = before.iter().map(token).collect();
        single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
        single.extend(after.iter().map(token));
        let tokens: serde_json::Map<_, _> = before
            .iter()
            .chain(after)
            .map(|(name, id)| {
                (name.to_string(), json!({"id": name, "ids": [id], "tokens": [name]}))
            })
            .collect();
        json!({
            "type": "TemplateProcessing",
            "single": single,
            "pair": single,
            "special_tokens": tokens,
        })
    }

    /// A checkpoint folder whose tokenizer knows `<s>` 0, `</s>` 1, `<|eot|>` 2, `a` 3, `b` 4.
    fn folder(post_processor: Value, tokenizer_config: Option<Value>) -> TempDir {
        let dir = TempDir::new().unwrap();
        let tokenizer = json!({
            "version": "1.0",
            "truncation": {
                "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
            },
            "padding": null,
            "added_tokens": [special(0, "<s>"), special(1, "</s>"), special(2, "<|eot|>")],
            "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": post_processor,
            "decoder": null,
            "model": {
                "type": "WordLevel",
                "vocab": {"<s>": 0, "</s>": 1, "<|eot|>": 2, "a": 3, "b": 4},
                "unk_token": "b",
            },
        });
        std::fs::write(dir.path().join(TOKENIZER), tokenizer.to_string()).unwrap();
        if let Some(config) = tokenizer_config {
            std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        }
        dir
    }

    fn open(dir: &TempDir) -> Result<Tokenizer, Error> {
        let ids = json!({"bos_token_id": 0, "eos_token_id": [1, 2]});
        Tokenizer::from_dir(dir, &tiny_with(ids))
    }

    #[test]
    fn bos_and_eos_are_added_once_and_only_where_asked_for() {
        let bos = || template(&[("<s>", 0)], &[]);
        let both = || template(&[("<s>", 0)], &[("</s>", 1)]);
        let cases = [
            (Value::Null, None, vec![3, 4]),
            (bos(), None, vec![0, 3, 4]),
            (both(), None, vec![0, 3, 4, 1]),
            (Value::Null, Some(json!({"add_bos_token": true})), vec![0, 3, 4]),
            (bos(), Some(json!({"add_bos_token": true})), vec![0, 3, 4]),
            (both(), Some(json!({"add_bos_token": false})), vec![3, 4, 1]),
            (bos(), Some(json!({"add_eos_token": true})), vec![0, 3, 4, 1]),
            (both(), Some(json!({"add_eos_token": false})), vec![0, 3, 4]),
        ];
        for (post_processor, config, want) in cases {
            let tokenizer = open(&folder(post_processor, config.clone())).unwrap();
            assert_eq!(tokenizer.encode("a b").unwrap(), want, "{config:?}");
            assert_eq!(tokenizer.encode_plain("a b").unwrap(), [3, 4]);
        }
    }

    #[test]
    fn a_saved_truncation_does_not_cut_texts() {
        let tokenizer = open(&folder(Value::Null, None)).unwrap();
        assert_eq!(tokenizer.encode("a b a b a").unwrap().len(), 5);
    }

    #[test]
    fn decoding_leaves_special_tokens_out() {
        let tokenizer = open(&folder(Value::Null, None)).unwrap();
        assert_eq!(tokenizer.decode(&[0, 3, 4, 2]).unwrap(), "a b");
        assert_eq!(tokenizer.encode_plain("<|eot|> a").unwrap(), [2, 3]);
        assert_eq!((tokenizer.token_to_id("b"), tokenizer.vocab_size()), (Some(4), 5));
    }

    #[test]
    fn tokenizers_that_cannot_be_used_are_refused() {
        let dir = folder(template(&[("<s>", 0), ("b", 4)], &[]), None);
        let error = open(&dir).unwrap_err();
        assert!(error.to_string().contains("adds token 4 to every text"), "{error}");
        assert!(error.hint().is_some());
        std::fs::write(dir.path().join(TOKENIZER), "{\"version\": ").unwrap();
        let error = open(&dir).unwrap_err();
        assert!(
            matches!(&error, Error::Tokenizer { path, .. } if path.ends_with(TOKENIZER)),
            "{error}"
        );
        std::fs::remove_file(dir.path().join(TOKENIZER)).unwrap();
        assert!(matches!(open(&dir).unwrap_err(), Error::Io { .. }));
    }
}
