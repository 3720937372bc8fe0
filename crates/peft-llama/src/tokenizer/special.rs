//! Which tokens begin and end a text, gathered from the files of a checkpoint.

use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::config::token_ids;
use crate::{DecoderConfig, Error, json::Object};

/// Special tokens of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// End a generated text.
    pub stop: Vec<u32>,
    /// Whether encoding adds BOS, where the checkpoint says so.
    pub add_bos: Option<bool>,
    /// Whether encoding adds EOS, where the checkpoint says so.
    pub add_eos: Option<bool>,
}

impl SpecialTokens {
    /// `tokenizer_config.json` names the tokens around a text; `generation_config.json`, and after
    /// it `config.json`, where generation stops. Each stands in where another is silent.
    pub fn read(dir: &Path, config: &DecoderConfig, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let json = Object::read_or_empty(&dir.join("tokenizer_config.json"))?;
        let generation = Object::read_or_empty(&dir.join("generation_config.json"))?;
        let mut stop = token_ids(&generation, "eos_token_id")?;
        if stop.is_empty() {
            stop.clone_from(&config.eos_token_id);
        }
        let bos = named(&json, "bos_token", tokenizer)?.or(config.bos_token_id);
        let eos = named(&json, "eos_token", tokenizer)?.or(stop.first().copied());
        if stop.is_empty() {
            stop.extend(eos);
        }
        let add_bos = asked(&json, "add_bos_token", bos)?;
        let add_eos = asked(&json, "add_eos_token", eos)?;
        Ok(Self { bos, eos, stop, add_bos, add_eos })
    }
}

/// Id of the token that `key` names, as text or as an object with `content`.
fn named(json: &Object, key: &str, tokenizer: &Tokenizer) -> Result<Option<u32>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Token {
        Text(String),
        Object { content: String },
    }
    const EXPECTED: &str = "a token of tokenizer.json";
    let Some(Token::Text(token) | Token::Object { content: token }) = json.get(key, EXPECTED)?
    else {
        return Ok(None);
    };
    match tokenizer.token_to_id(&token) {
        Some(id) => Ok(Some(id)),
        None => Err(json.refuse(key, EXPECTED)),
    }
}

/// Whether `key` asks for `token` to be added, which must then be known.
fn asked(json: &Object, key: &str, token: Option<u32>) -> Result<Option<bool>, Error> {
    let asked = json.get(key, "true or false")?;
    match (asked, token) {
        (Some(true), None) => Err(json.refuse(key, "false, as no such token is named")),
        _ => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{tiny, tiny_with};
    use serde_json::{Value, json};
    use tempfile::TempDir;
    use tokenizers::models::wordlevel::WordLevel;

    fn read(files: &[(&str, Value)], config: &DecoderConfig) -> Result<SpecialTokens, Error> {
        let dir = TempDir::new().unwrap();
        for (name, json) in files {
            std::fs::write(dir.path().join(name), json.to_string()).unwrap();
        }
        let vocab = [("<s>".to_string(), 0), ("</s>".to_string(), 1), ("<|eot|>".to_string(), 2)];
        let model = WordLevel::builder().vocab(vocab.into_iter().collect()).build().unwrap();
        SpecialTokens::read(dir.path(), config, &Tokenizer::new(model))
    }

    #[test]
    fn the_model_configuration_is_enough() {
        let config = tiny_with(json!({"bos_token_id": 0, "eos_token_id": 1}));
        let got = read(&[], &config).unwrap();
        assert_eq!((got.bos, got.eos, got.stop), (Some(0), Some(1), vec![1]));
        assert_eq!((got.add_bos, got.add_eos), (None, None));
    }

    #[test]
    fn generation_config_says_where_to_stop_and_tokenizer_config_what_surrounds_a_text() {
        let config = tiny_with(json!({"bos_token_id": 2, "eos_token_id": 0}));
        let files = [
            ("generation_config.json", json!({"eos_token_id": [1, 2]})),
            (
                "tokenizer_config.json",
                json!({
                    "bos_token": "<s>",
                    "eos_token": {"content": "<|eot|>"},
                    "add_bos_token": true,
                }),
            ),
        ];
        let got = read(&files, &config).unwrap();
        assert_eq!((got.bos, got.eos, got.stop), (Some(0), Some(2), vec![1, 2]));
        assert_eq!((got.add_bos, got.add_eos), (Some(true), None));
    }

    #[test]
    fn the_tokenizers_end_is_a_stop_where_nothing_else_is() {
        let got =
            read(&[("tokenizer_config.json", json!({"eos_token": "</s>"}))], &tiny()).unwrap();
        assert_eq!((got.eos, got.stop), (Some(1), vec![1]));
        let none = read(&[], &tiny()).unwrap();
        assert_eq!((none.bos, none.eos, none.stop), (None, None, vec![]));
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_key() {
        let cases = [
            ("bos_token", json!({"bos_token": "<unknown>"})),
            ("eos_token", json!({"eos_token": 1})),
            ("add_bos_token", json!({"add_bos_token": true})),
            ("add_eos_token", json!({"add_eos_token": "yes"})),
        ];
        for (key, json) in cases {
            let error = read(&[("tokenizer_config.json", json)], &tiny()).unwrap_err().to_string();
            assert!(error.contains(&format!("tokenizer_config.json: `{key}` is ")), "{error}");
        }
    }
}
