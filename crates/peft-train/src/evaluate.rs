//! Loss and exact match on what was held back.

use std::num::NonZeroUsize;

use burn::module::Module;
use peft_llama::{CausalLm, Tokenizer, cross_entropy_sum};

use crate::Error;
use crate::data::{Batch, Example, IGNORE_INDEX, Sample, TokenizeOptions, tokenize};
use crate::report::Scores;

/// Samples whose answers are generated at a time, at least.
const BATCH: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct EvaluateOptions {
    /// Examples in a batch.
    pub batch_size: NonZeroUsize,
    /// The longest sequence, in tokens. What lies beyond it is cut off, and examples of whose answer
    /// nothing is left are left out.
    pub sequence_len: usize,
    /// The longest answer generated, in tokens. 0: none, and there is no accuracy.
    pub max_new_tokens: usize,
}

/// Scores `model` on `examples`: the mean loss per token of their answers, and the share whose greedily
/// generated answer is the right one, white space around both ignored. Of a conversation, the
/// assistant's last message is the answer to what comes before it. `progress` is told the number of
/// examples done.
///
/// # Errors
/// [`Error::Data`] for examples that cannot be tokenized, [`Error::Model`] for generation.
pub fn evaluate(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    examples: &[Example],
    options: EvaluateOptions,
    progress: impl FnMut(usize),
) -> Result<Scores, Error> {
    let EvaluateOptions { batch_size, sequence_len, max_new_tokens } = options;
    let tokenizing = TokenizeOptions { sequence_len, train_on_inputs: false };
    let samples = tokenize(examples, tokenizer, tokenizing)?.samples;
    evaluate_samples(model, tokenizer, &samples, batch_size, max_new_tokens, progress)
}

/// Scores `model` on `samples`: the mean loss per target token, and, where answers of up to
/// `max_new_tokens` are asked for, the share of samples whose last answer is what the model generates
/// in its place, white space around both ignored. `progress` is told the samples done.
pub(crate) fn evaluate_samples(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    samples: &[Sample],
    batch_size: NonZeroUsize,
    max_new_tokens: usize,
    mut progress: impl FnMut(usize),
) -> Result<Scores, Error> {
    let model = model.valid();
    let (mut loss, mut targets, mut right) = (0.0, 0, 0);
    let mut done = 0;
    for samples in samples.chunks(batch_size.max(BATCH).get()) {
        // Logits of all positions take more memory than generating does: no more than in training.
        for samples in samples.chunks(batch_size.get()) {
            let (sum, count) = loss_sum(&model, samples)?;
            (loss, targets) = (loss + sum, targets + count);
        }
        if max_new_tokens > 0 {
            right += exact_matches(&model, tokenizer, samples, max_new_tokens)?;
        }
        done += samples.len();
        progress(done);
    }
    Ok(Scores {
        accuracy: (max_new_tokens > 0).then(|| right as f64 / samples.len().max(1) as f64),
        loss: Some(loss / targets.max(1) as f64).filter(|loss| loss.is_finite()),
        items: samples.len(),
    })
}

fn loss_sum(model: &CausalLm, samples: &[Sample]) -> Result<(f64, usize), Error> {
    let device = model.model.embed_tokens.weight.device();
    let batch = Batch::collate(&samples.iter().collect::<Vec<_>>(), &device);
    let logits = model.forward(batch.input_ids, Some(batch.attention_mask));
    let (sum, _) = cross_entropy_sum(logits, batch.labels);
    Ok((f64::from(Error::scalar(sum)?), batch.target_tokens))
}

fn exact_matches(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    samples: &[Sample],
    max_new_tokens: usize,
) -> Result<usize, Error> {
    let stop = tokenizer.stop_token_ids();
    let (prompts, answers): (Vec<_>, Vec<_>) = samples.iter().map(last_answer).unzip();
    let generated = generate(model, &prompts, max_new_tokens, stop)?;
    let mut right = 0;
    for (got, mut want) in generated.iter().zip(answers) {
        let Some(got) = got else { continue };
        want.pop_if(|token| stop.contains(token));
        right += usize::from(tokenizer.decode(got)?.trim() == tokenizer.decode(&want)?.trim());
    }
    Ok(right)
}

/// An answer to each prompt, but to those on which the logits are no numbers.
fn generate(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    max_new_tokens: usize,
    stop: &[u32],
) -> Result<Vec<Option<Vec<u32>>>, Error> {
    match model.generate(prompts, max_new_tokens, stop) {
        Ok(answers) => Ok(answers.into_iter().map(Some).collect()),
        Err(peft_llama::Error::Logits) if prompts.len() == 1 => Ok(vec![None]),
        Err(peft_llama::Error::Logits) => {
            let (first, rest) = prompts.split_at(prompts.len() / 2);
            let halves = [first, rest].map(|half| generate(model, half, max_new_tokens, stop));
            let [first, rest] = halves;
            Ok([first?, rest?].concat())
        }
        Err(error) => Err(error.into()),
    }
}

/// The last stretch of tokens that are learnt, and all that comes before it.
fn last_answer(sample: &Sample) -> (Vec<u32>, Vec<u32>) {
    let learnt = |label: &i64| *label != IGNORE_INDEX;
    let end = sample.labels.iter().rposition(learnt).map_or(0, |last| last + 1);
    let begin = sample.labels[..end].iter().rposition(|label| !learnt(label)).map_or(0, |i| i + 1);
    (sample.input_ids[..begin].to_vec(), sample.input_ids[begin..end].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{tiny_model, tiny_samples};

    #[test]
    fn the_last_answer_is_told_from_what_comes_before_it() {
        let sample = Sample::new(vec![1, 2, 3, 4, 5, 6], vec![-100, 2, -100, -100, 5, 6]);
        assert_eq!(last_answer(&sample), (vec![1, 2, 3, 4], vec![5, 6]));
        let sample = Sample::new(vec![1, 2, 3], vec![-100, 2, -100]);
        assert_eq!(last_answer(&sample), (vec![1], vec![2]));
    }

    #[test]
    fn scores_do_not_depend_on_the_batch_and_answers_are_optional() {
        let (model, tokenizer) = tiny_model();
        let samples = tiny_samples(&tokenizer, 6);
        let one = NonZeroUsize::MIN;
        let mut told = Vec::new();
        let scores = |batch, tokens, told: &mut Vec<usize>| {
            evaluate_samples(&model, &tokenizer, &samples, batch, tokens, |n| told.push(n)).unwrap()
        };
        let alone = scores(one, 0, &mut told);
        assert_eq!((alone.accuracy, alone.items, told.as_slice()), (None, 6, &[6][..]));
        let together = scores(one.saturating_add(3), 24, &mut told);
        let difference = (alone.loss.unwrap() - together.loss.unwrap()).abs();
        assert!(difference < 1e-4, "{alone:?} {together:?}");
        assert!(together.accuracy.unwrap() >= 0.5, "it knows these tasks: {together:?}");
    }

    #[test]
    fn a_loss_that_is_not_finite_is_none() {
        let (mut model, tokenizer) = tiny_model();
        let samples = tiny_samples(&tokenizer, 2);
        model.model.norm.weight = model.model.norm.weight.map(|weight| weight * f32::NAN);
        for (tokens, accuracy) in [(0, None), (8, Some(0.0))] {
            let scores =
                evaluate_samples(&model, &tokenizer, &samples, BATCH, tokens, |_| {}).unwrap();
            assert_eq!((scores.loss, scores.accuracy, scores.items), (None, accuracy, 2));
        }
    }
}
