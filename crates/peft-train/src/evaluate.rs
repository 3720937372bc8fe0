//! Exact match and loss on held-back examples.

use std::num::NonZeroUsize;

use burn::module::Module;
use burn::tensor::Tensor;
use peft_llama::{CausalLm, Tokenizer, cross_entropy_sum};

use crate::Error;
use crate::data::{Batch, DataError, Example, TokenizeOptions, last_answer, tokenize};
use crate::report::Scores;

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct EvaluateOptions {
    /// Examples in a batch.
    pub batch_size: NonZeroUsize,
    /// The longest sequence the loss is taken over, in tokens.
    pub sequence_len: usize,
    /// The longest answer generated, in tokens.
    pub max_new_tokens: usize,
}

/// Scores `model` on `examples`: the mean loss per completion token, and the share of examples
/// whose greedily generated answer equals the completion, white space around both ignored. Of a
/// conversation, the assistant's last message is the answer to what comes before it.
/// `progress` is told the number of examples done.
///
/// # Errors
/// [`Error::Data`] for examples that cannot be tokenized, [`Error::Model`] for generation.
pub fn evaluate(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    examples: &[Example],
    options: EvaluateOptions,
    mut progress: impl FnMut(usize),
) -> Result<Scores, Error> {
    let model = model.valid();
    let mut right = 0;
    let (mut loss, mut targets) = (0.0, 0);
    for (index, batch) in examples.chunks(options.batch_size.get()).enumerate() {
        let (sum, count) = loss_sum(&model, tokenizer, batch, options.sequence_len)?;
        loss += sum;
        targets += count;
        let answers = answers(&model, tokenizer, batch, options.max_new_tokens)?;
        let pairs = batch.iter().zip(answers);
        right += pairs.filter(|(example, got)| example.answer().trim() == got.trim()).count();
        progress(index * options.batch_size.get() + batch.len());
    }
    Ok(Scores {
        accuracy: Some(right as f64 / examples.len().max(1) as f64),
        loss: loss / targets.max(1) as f64,
        items: examples.len(),
    })
}

/// The model's answers to the examples' prompts.
///
/// # Errors
/// [`Error::Data`] for a prompt that cannot be tokenized, [`Error::Model`] for generation.
pub fn answers(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    examples: &[Example],
    max_new_tokens: usize,
) -> Result<Vec<String>, Error> {
    let numbered = |(index, example): (usize, &Example)| {
        prompt(tokenizer, example).map_err(|source| {
            DataError::Tokenize { example: index + 1, part: "prompt", source: source.into() }.into()
        })
    };
    let prompts: Vec<Vec<u32>> =
        examples.iter().enumerate().map(numbered).collect::<Result<_, Error>>()?;
    let ids = model.generate(&prompts, max_new_tokens, tokenizer.stop_token_ids())?;
    Ok(ids.iter().map(|ids| tokenizer.decode(ids)).collect::<Result<_, _>>()?)
}

/// The tokens that the answer to an example begins after.
fn prompt(tokenizer: &Tokenizer, example: &Example) -> Result<Vec<u32>, peft_llama::Error> {
    match example {
        Example::Completion { prompt, .. } => {
            let text = tokenizer.encode_plain(prompt)?;
            Ok(tokenizer.bos_token_id().into_iter().chain(text).collect())
        }
        Example::Chat(messages) => tokenizer.encode_chat_prompt(&messages[..last_answer(messages)]),
    }
}

fn loss_sum(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    examples: &[Example],
    sequence_len: usize,
) -> Result<(f64, usize), Error> {
    let options = TokenizeOptions { sequence_len, train_on_inputs: false };
    let samples = tokenize(examples, tokenizer, options)?.samples;
    let device = model.model.embed_tokens.weight.device();
    let batch = Batch::collate(&samples.iter().collect::<Vec<_>>(), &device);
    let logits = model.forward(batch.input_ids, Some(batch.attention_mask));
    let sum: Tensor<1> = cross_entropy_sum(logits, batch.labels).0;
    Ok((f64::from(Error::scalar(sum)?), batch.target_tokens))
}
