//! From text to token ids and labels.

use peft_llama::EncodedChat;
use rayon::prelude::*;

use super::{DataError, Encode, Example, Sample};
use crate::Error;

/// How examples become samples.
#[derive(Clone, Copy, Debug)]
pub struct TokenizeOptions {
    /// The longest sample, in tokens. What lies beyond it is cut off, the end-of-sequence token
    /// included: a cut answer should not teach the model to stop there.
    pub sequence_len: usize,
    /// Whether everything has labels, not only the answers.
    pub train_on_inputs: bool,
}

/// The samples of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenized {
    /// The samples in the dataset's order; never empty.
    pub samples: Vec<Sample>,
    /// Samples that were cut at `sequence_len`; those dropped are not counted.
    pub truncated: usize,
    /// Examples left out because no token of their completion was left to predict.
    pub dropped: usize,
}

/// Tokenizes every example, on all cores: a prompt and its completion as BOS + prompt + completion
/// \+ EOS, a conversation as the chat template renders it.
///
/// A prompt and its completion are encoded separately. Encoded as one text, a token could straddle
/// the border: it would belong to neither side of the mask, and the prompt's ids in training would
/// not be those that generation begins from. A conversation is encoded as one text: that is what
/// models for chat were trained on, and a prompt's ids agree wherever a template ends prompts with
/// a special token or a line.
///
/// # Errors
/// [`DataError::Tokenize`] when `tokenizer` refuses a text, [`DataError::NoSamples`] when every
/// example is dropped.
pub fn tokenize(
    examples: &[Example],
    tokenizer: &dyn Encode,
    options: TokenizeOptions,
) -> Result<Tokenized, Error> {
    tokenize_or(examples, tokenizer, options, |index, Refusal { part, source }| {
        Err(DataError::Tokenize { example: index + 1, part, source })
    })
}

/// [`tokenize`], where `refused` says of an example that `tokenizer` refuses, by its index, whether it is
/// an error or left out.
pub(super) fn tokenize_or(
    examples: &[Example],
    tokenizer: &dyn Encode,
    options: TokenizeOptions,
    mut refused: impl FnMut(usize, Refusal) -> Result<(), DataError>,
) -> Result<Tokenized, Error> {
    // Collected before errors are looked for, so that the first one does not depend on timing.
    let encoded: Vec<_> = examples.par_iter().map(|example| encode(example, tokenizer)).collect();
    let (mut samples, mut truncated, mut dropped) = (Vec::with_capacity(examples.len()), 0, 0);
    for (index, encoded) in encoded.into_iter().enumerate() {
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(refusal) => {
                refused(index, refusal)?;
                continue;
            }
        };
        let length = encoded.input_ids.len();
        match sample(encoded, options) {
            Some(sample) => {
                truncated += usize::from(length > options.sequence_len);
                samples.push(sample);
            }
            None => dropped += 1,
        }
    }
    if samples.is_empty() {
        let sequence_len = options.sequence_len;
        return Err(DataError::NoSamples { sequence_len, dropped }.into());
    }
    Ok(Tokenized { samples, truncated, dropped })
}

/// Why an example was refused.
pub(super) struct Refusal {
    /// Its part: `prompt`, `completion` or `conversation`.
    pub part: &'static str,
    /// The tokenizer's reason.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The tokens of an example, and which of them are its answers.
fn encode(example: &Example, tokenizer: &dyn Encode) -> Result<EncodedChat, Refusal> {
    match example {
        Example::Chat(messages) => tokenizer
            .encode_chat(messages)
            .map_err(|source| Refusal { part: "conversation", source }),
        Example::Completion { prompt, completion } => {
            let encode = |part, text: &str| {
                tokenizer.encode(text).map_err(|source| Refusal { part, source })
            };
            let mut input_ids: Vec<u32> = tokenizer.bos().into_iter().collect();
            input_ids.extend(encode("prompt", prompt)?);
            let border = input_ids.len();
            input_ids.extend(encode("completion", completion)?);
            input_ids.extend(tokenizer.eos());
            let assistant_mask = (0..input_ids.len()).map(|index| index >= border).collect();
            Ok(EncodedChat { input_ids, assistant_mask })
        }
    }
}

/// The sample of `encoded`, or nothing when no token of an answer that can be predicted (any but a
/// sample's first token) fits.
fn sample(encoded: EncodedChat, options: TokenizeOptions) -> Option<Sample> {
    let EncodedChat { mut input_ids, mut assistant_mask } = encoded;
    input_ids.truncate(options.sequence_len);
    assistant_mask.truncate(options.sequence_len);
    let has_target = assistant_mask.iter().skip(1).any(|said| *said);
    let learnt = assistant_mask.into_iter().map(|said| said || options.train_on_inputs);
    has_target.then(|| Sample::masked(input_ids, learnt))
}

#[cfg(test)]
mod tests {
    use peft_llama::ChatMessage;

    use super::*;

    /// One token per byte; refuses `!`. Renders a message as the first letter of its role and what
    /// it says.
    struct Bytes {
        bos: Option<u32>,
        eos: Option<u32>,
    }

    const BYTES: Bytes = Bytes { bos: Some(1), eos: Some(2) };

    impl Encode for Bytes {
        fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn std::error::Error + Send + Sync>> {
            if text.contains('!') {
                return Err("`!` is not in the vocabulary".into());
            }
            Ok(text.bytes().map(u32::from).collect())
        }

        fn encode_chat(
            &self,
            messages: &[ChatMessage],
        ) -> Result<EncodedChat, Box<dyn std::error::Error + Send + Sync>> {
            let (mut input_ids, mut assistant_mask) = (Vec::new(), Vec::new());
            for message in messages {
                let ids = self.encode(&format!("{}{}", &message.role[..1], message.content))?;
                let said = (0..ids.len()).map(|index| index > 0 && message.is_answer());
                assistant_mask.extend(said);
                input_ids.extend(ids);
            }
            Ok(EncodedChat { input_ids, assistant_mask })
        }

        fn bos(&self) -> Option<u32> {
            self.bos
        }

        fn eos(&self) -> Option<u32> {
            self.eos
        }
    }

    fn options(sequence_len: usize, train_on_inputs: bool) -> TokenizeOptions {
        TokenizeOptions { sequence_len, train_on_inputs }
    }

    fn example(prompt: &str, completion: &str) -> Example {
        Example::completion(prompt, completion)
    }

    fn one(tokenizer: &Bytes, example: Example, options: TokenizeOptions) -> Sample {
        tokenize(&[example], tokenizer, options).unwrap().samples.remove(0)
    }

    #[test]
    fn the_prompt_and_bos_are_masked() {
        let sample = one(&BYTES, example("AB", "CD"), options(16, false));
        assert_eq!(sample.input_ids, [1, 65, 66, 67, 68, 2]);
        assert_eq!(sample.labels, [-100, -100, -100, 67, 68, 2]);
        assert_eq!(sample.target_tokens(), 3);
    }

    #[test]
    fn training_on_inputs_masks_nothing() {
        let sample = one(&BYTES, example("AB", "CD"), options(16, true));
        assert_eq!(sample.labels, [1, 65, 66, 67, 68, 2]);
        assert_eq!(sample.target_tokens(), 5);
    }

    #[test]
    fn a_tokenizer_without_special_tokens_adds_none() {
        let plain = Bytes { bos: None, eos: None };
        let sample = one(&plain, example("", "CD"), options(16, false));
        assert_eq!(sample.input_ids, [67, 68]);
        assert_eq!(sample.labels, [67, 68]);
        assert_eq!(sample.target_tokens(), 1);
    }

    #[test]
    fn long_samples_are_cut_and_those_without_completion_dropped() {
        let examples =
            [example("A", "C"), example("A", "CDE"), example("ABC", "D"), example("ABCDE", "F")];
        let tokenized = tokenize(&examples, &BYTES, options(4, false)).unwrap();
        let ids: Vec<_> = tokenized.samples.iter().map(|s| &s.input_ids[..]).collect();
        assert_eq!(ids, [[1, 65, 67, 2], [1, 65, 67, 68]]);
        assert_eq!(tokenized.samples[1].labels, [-100, -100, 67, 68]);
        assert_eq!((tokenized.truncated, tokenized.dropped), (1, 2));
    }

    #[test]
    fn a_completion_that_nothing_can_predict_is_dropped() {
        let plain = Bytes { bos: None, eos: None };
        let examples = [example("", "C"), example("", "CD")];
        let tokenized = tokenize(&examples, &plain, options(16, false)).unwrap();
        assert_eq!((tokenized.samples.len(), tokenized.dropped), (1, 1));
    }

    #[test]
    fn nothing_left_is_an_error_that_names_the_limit() {
        let error = tokenize(&[example("ABC", "D")], &BYTES, options(4, true)).unwrap_err();
        assert!(error.to_string().contains("`sequence_len` = 4"), "{error}");
        assert!(error.hint().unwrap().contains("raise `sequence_len`"));
    }

    #[test]
    fn a_refused_text_is_named() {
        let examples = [example("A", "C"), example("A", "!")];
        let error = tokenize(&examples, &BYTES, options(4, true)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot tokenize the completion of example 2: `!` is not in the vocabulary"
        );
    }

    fn chat() -> Example {
        let turns = [("user", "A"), ("assistant", "BC"), ("user", "D"), ("assistant", "E")];
        Example::Chat(turns.map(|(role, content)| ChatMessage::new(role, content)).into())
    }

    #[test]
    fn every_answer_of_a_conversation_is_learnt_and_nothing_is_added() {
        let sample = one(&BYTES, chat(), options(16, false));
        assert_eq!(sample.input_ids, b"uAaBCuDaE".map(u32::from));
        assert_eq!(sample.labels, [-100, -100, -100, 66, 67, -100, -100, -100, 69]);
        let whole = one(&BYTES, chat(), options(16, true));
        assert_eq!(whole.target_tokens(), 8);
    }

    #[test]
    fn a_cut_conversation_keeps_the_answers_that_fit() {
        let tokenized = tokenize(&[chat()], &BYTES, options(7, false)).unwrap();
        assert_eq!((tokenized.truncated, tokenized.samples[0].target_tokens()), (1, 2));
        let none = tokenize(&[chat()], &BYTES, options(3, true)).unwrap_err();
        assert!(none.to_string().starts_with("none of the 1 examples"), "{none}");
    }

    #[test]
    fn a_refused_conversation_is_named() {
        let refused = Example::Chat(vec![ChatMessage::new("user", "!")]);
        let error = tokenize(&[chat(), refused], &BYTES, options(16, false)).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot tokenize the conversation of example 2: "),
            "{error}"
        );
    }
}
