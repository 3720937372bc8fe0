//! From text to token ids and labels.

use super::format::Example;
use crate::Error;

/// The label of a token that takes no part in the loss.
pub const IGNORE_INDEX: i64 = -100;

/// What the data needs of a tokenizer.
pub trait Encode {
    /// The ids of `text`, without special tokens around it.
    ///
    /// # Errors
    /// The tokenizer's own, when it cannot encode the text.
    fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn std::error::Error + Send + Sync>>;

    /// The token every sample begins with, if the model has one.
    fn bos(&self) -> Option<u32>;

    /// The token that ends an answer, if the model has one.
    fn eos(&self) -> Option<u32>;
}

/// One training sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The token ids.
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`, and not yet shifted: position `i` holds the id at `i`, or
    /// [`IGNORE_INDEX`].
    pub labels: Vec<i64>,
}

impl Sample {
    /// The tokens the loss is taken over. The first label never counts: nothing precedes it, so
    /// nothing predicts it.
    pub fn target_tokens(&self) -> usize {
        let targets = self.labels.iter().skip(1);
        targets.filter(|label| **label != IGNORE_INDEX).count()
    }
}

/// How examples become samples.
#[derive(Clone, Copy, Debug)]
pub struct TokenizeOptions {
    /// The longest sample, in tokens. What lies beyond it is cut off, the end-of-sequence token
    /// included: a cut answer should not teach the model to stop there.
    pub sequence_len: usize,
    /// Whether the prompt (and the beginning-of-sequence token) has labels too.
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

/// Tokenizes every example as BOS + prompt + completion + EOS.
///
/// The prompt and the completion are encoded separately. Encoded as one text, a token could
/// straddle the border: it would belong to neither side of the mask, and the prompt's ids in
/// training would not be those that generation begins from.
///
/// # Errors
/// [`Error::Tokenize`] when `tokenizer` refuses a text, [`Error::NoSamples`] when every example
/// is dropped.
pub fn tokenize(
    examples: &[Example],
    tokenizer: &dyn Encode,
    options: TokenizeOptions,
) -> Result<Tokenized, Error> {
    let (mut samples, mut truncated) = (Vec::with_capacity(examples.len()), 0);
    for (index, example) in examples.iter().enumerate() {
        let (context, completion) = encode(index + 1, example, tokenizer)?;
        let length = context.len() + completion.len();
        if let Some(sample) = sample(context, &completion, options) {
            truncated += usize::from(length > options.sequence_len);
            samples.push(sample);
        }
    }
    let dropped = examples.len() - samples.len();
    if samples.is_empty() {
        let sequence_len = options.sequence_len;
        return Err(Error::NoSamples { sequence_len, dropped });
    }
    Ok(Tokenized { samples, truncated, dropped })
}

/// BOS + prompt, and completion + EOS.
fn encode(
    number: usize,
    example: &Example,
    tokenizer: &dyn Encode,
) -> Result<(Vec<u32>, Vec<u32>), Error> {
    let encode = |part, text: &str| {
        tokenizer.encode(text).map_err(|source| Error::Tokenize { example: number, part, source })
    };
    let mut context: Vec<u32> = tokenizer.bos().into_iter().collect();
    context.extend(encode("prompt", &example.prompt)?);
    let mut completion = encode("completion", &example.completion)?;
    completion.extend(tokenizer.eos());
    Ok((context, completion))
}

/// The sample of `context` and `completion`, or nothing when no completion token that can be
/// predicted (any but a sample's first token) fits.
fn sample(context: Vec<u32>, completion: &[u32], options: TokenizeOptions) -> Option<Sample> {
    let border = context.len();
    let mut input_ids = context;
    input_ids.extend(completion);
    input_ids.truncate(options.sequence_len);
    if input_ids.len() <= border.max(1) {
        return None;
    }
    let mut labels: Vec<i64> = input_ids.iter().copied().map(i64::from).collect();
    if !options.train_on_inputs {
        labels[..border].fill(IGNORE_INDEX);
    }
    Some(Sample { input_ids, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One token per byte; refuses `!`.
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
        Example { prompt: prompt.into(), completion: completion.into() }
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
}
