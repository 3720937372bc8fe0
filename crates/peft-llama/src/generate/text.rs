//! Generation from text to text.

use super::Sampling;
use crate::{CausalLm, Error, Tokenizer};

/// How texts are continued.
#[derive(Debug, Clone, PartialEq)]
pub struct TextOptions {
    /// The longest continuation, in tokens.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Texts that end a continuation, which is cut in front of the first of them.
    pub stop: Vec<String>,
}

/// What a prompt was continued by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text, without what ended it.
    pub text: String,
    /// Tokens generated, the last one included.
    pub tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// Why a continuation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended the text.
    EndOfText,
    /// One of the stop strings was reached.
    StopString,
    /// The limit of tokens was reached.
    Length,
}

impl CausalLm {
    /// Continues every prompt, encoded as the checkpoint asks for, with BOS if it has one, until
    /// the model ends the text, a stop string is reached, or the limit is.
    ///
    /// # Errors
    /// [`Error::Text`] for a prompt that cannot be tokenized, and what
    /// [`continued`](Self::continued) refuses.
    pub fn complete(
        &self,
        tokenizer: &Tokenizer,
        prompts: &[String],
        options: &TextOptions,
    ) -> Result<Vec<Completion>, Error> {
        let ids = prompts.iter().map(|prompt| tokenizer.encode_prompt(prompt));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let TextOptions { max_new_tokens, sampling, stop } = options;
        let rows = self.continued(&ids, *max_new_tokens, sampling, |_, tokens| {
            ends(tokens, tokenizer)
                || tokenizer.decode(tokens).is_ok_and(|text| first_of(&text, stop).is_some())
        })?;
        rows.into_iter().map(|tokens| completion(&tokens, tokenizer, stop)).collect()
    }
}

impl Tokenizer {
    /// Token ids of a text to be continued: BOS, if the model has one, and no EOS.
    ///
    /// # Errors
    /// [`Error::Text`] where the text cannot be tokenized.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        let text = self.encode_plain(text)?;
        let bos = self.bos_token_id().filter(|bos| text.first() != Some(bos));
        Ok(bos.into_iter().chain(text).collect())
    }
}

fn ends(tokens: &[u32], tokenizer: &Tokenizer) -> bool {
    tokens.last().is_some_and(|token| tokenizer.stop_token_ids().contains(token))
}

fn completion(tokens: &[u32], tokenizer: &Tokenizer, stop: &[String]) -> Result<Completion, Error> {
    let ended = ends(tokens, tokenizer);
    let mut text = tokenizer.decode(&tokens[..tokens.len() - usize::from(ended)])?;
    let finish = match first_of(&text, stop) {
        Some(at) => {
            text.truncate(at);
            Finish::StopString
        }
        None if ended => Finish::EndOfText,
        None => Finish::Length,
    };
    Ok(Completion { text, tokens: tokens.len(), finish })
}

/// Where the first stop string begins.
fn first_of(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::tiny_with;
    use peft_testing::device;
    use serde_json::json;
    use tempfile::TempDir;

    /// A tokenizer of one letter per token, `<s>` 0, `</s>` 1, `a` 2 to `q` 18, and a model for it.
    fn letters() -> (CausalLm, Tokenizer) {
        let mut vocab = serde_json::Map::from_iter([
            ("<s>".to_string(), json!(0)),
            ("</s>".to_string(), json!(1)),
        ]);
        vocab.extend(('a'..='q').zip(2..).map(|(letter, id)| (letter.to_string(), json!(id))));
        let special = |id: u32, content: &str| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        };
        let split = json!({
            "type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false,
        });
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
            "added_tokens": [special(0, "<s>"), special(1, "</s>")],
            "pre_tokenizer": split, "post_processor": null,
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "a"},
        });
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let config = tiny_with(json!({"bos_token_id": 0, "eos_token_id": 1}));
        let tokenizer = Tokenizer::from_dir(dir.path(), &config).unwrap();
        (config.init(&device()), tokenizer)
    }

    fn options(max_new_tokens: usize, stop: &[&str]) -> TextOptions {
        let sampling = Sampling::new(2.0, 1.0, 5).unwrap();
        let stop = stop.iter().map(|stop| stop.to_string()).collect();
        TextOptions { max_new_tokens, sampling, stop }
    }

    #[test]
    fn a_text_is_cut_in_front_of_the_first_stop_string() {
        let (model, tokenizer) = letters();
        let prompts = ["abc".to_string()];
        let complete = |seed, stop: &[&str]| {
            let sampling = Sampling::new(2.0, 1.0, seed).unwrap();
            let options = TextOptions { sampling, ..options(8, stop) };
            model.complete(&tokenizer, &prompts, &options).unwrap().remove(0)
        };
        // The model's weights are random: a text of eight letters, none of them special.
        let mut texts = (0..200).map(|seed| (seed, complete(seed, &[]).text));
        let (seed, free) = texts.find(|(_, text)| text.len() == 8).expect("letters are likely");
        let (later, first) = (&free[4..6], &free[2..4]);
        let cut = complete(seed, &[later, first, ""]);
        let at = free.find(first).unwrap().min(free.find(later).unwrap());
        assert_eq!(cut.text, free[..at]);
        assert_eq!((cut.tokens, cut.finish), (at + 2, Finish::StopString));
    }

    #[test]
    fn the_limit_and_the_models_own_end_are_told_apart() {
        let (model, tokenizer) = letters();
        let prompts = ['a'; 12].map(String::from); // chance alone would hardly end all of them early
        let completions = model.complete(&tokenizer, &prompts, &options(3, &[])).unwrap();
        for Completion { tokens, finish, .. } in &completions {
            assert!(*tokens == 3 || *finish == Finish::EndOfText, "{completions:?}");
        }
        assert!(completions.iter().any(|completion| completion.finish == Finish::Length));
        assert_eq!(
            completion(&[2, 3, 1], &tokenizer, &[]).unwrap(),
            Completion { text: "ab".into(), tokens: 3, finish: Finish::EndOfText }
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_text() {
        let (model, tokenizer) = letters();
        let prompts = ["abc".to_string()];
        let text = |seed| {
            let sampling = Sampling::new(2.0, 0.9, seed).unwrap();
            let options = TextOptions { sampling, ..options(12, &[]) };
            model.complete(&tokenizer, &prompts, &options).unwrap().remove(0).text
        };
        assert_eq!(text(1), text(1));
        assert!((2..12).any(|seed| text(seed) != text(1)));
    }

    #[test]
    fn bos_is_put_in_front_of_a_prompt_once() {
        let (_, tokenizer) = letters();
        assert_eq!(tokenizer.encode_prompt("ab").unwrap(), [0, 2, 3]);
        assert_eq!(tokenizer.encode_prompt("<s>ab").unwrap(), [0, 2, 3]);
    }
}
