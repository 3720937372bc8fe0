//! Generation: a prompt continued token by token.

mod sampling;
mod text;

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{CausalLm, Error, KvCache};
use sampling::Sampler;
pub use sampling::Sampling;
pub use text::{Completion, Finish, TextOptions};

/// Fills the columns in front of shorter prompts; no token attends to it.
const FILLER: u32 = 0;

impl CausalLm {
    /// Continues every prompt by its most likely tokens, until one of `eos_token_id` or
    /// `max_new_tokens`. Returns the new tokens of each prompt, without the one that ended it.
    ///
    /// Prompts of different lengths share a batch; each is continued as it would be alone. No
    /// autodiff graph is recorded, even where the model's device has one.
    ///
    /// # Errors
    /// [`Error::Prompt`] for an empty prompt or an unknown token id, [`Error::Logits`] for a model
    /// whose logits are not numbers, [`Error::Device`] where the device fails.
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        max_new_tokens: usize,
        eos_token_id: &[u32],
    ) -> Result<Vec<Vec<u32>>, Error> {
        let rows = self.continued(prompts, max_new_tokens, &Sampling::Greedy, |_, row| {
            row.last().is_some_and(|token| eos_token_id.contains(token))
        })?;
        Ok(rows
            .into_iter()
            .map(|mut row| {
                row.pop_if(|token| eos_token_id.contains(token));
                row
            })
            .collect())
    }

    /// Continues every prompt by tokens chosen as `sampling` says, up to `max_new_tokens` or until
    /// `ended`, which is told the row and its new tokens after each, says so. Returns the new
    /// tokens, the last one included.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), and [`Error::Logits`] too for sampling from what is not a
    /// distribution.
    pub fn continued(
        &self,
        prompts: &[Vec<u32>],
        max_new_tokens: usize,
        sampling: &Sampling,
        mut ended: impl FnMut(usize, &[u32]) -> bool,
    ) -> Result<Vec<Vec<u32>>, Error> {
        self.check(prompts)?;
        let model = self.valid();
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let padding: Vec<_> = prompts.iter().map(|prompt| longest - prompt.len()).collect();
        let mut input = pad_left(prompts, &padding);
        let mut cache = KvCache::new(padding);
        let mut sampler = sampling.sampler(prompts.len());
        let mut rows = vec![Row::default(); prompts.len()];
        for _ in 0..max_new_tokens {
            if rows.iter().all(|row| row.ended) {
                break;
            }
            let next = model.next_tokens(input, &mut cache, sampler.as_mut())?;
            for (index, (row, token)) in rows.iter_mut().zip(&next).enumerate() {
                if !row.ended {
                    row.tokens.push(token.ok_or(Error::Logits)?);
                    row.ended = ended(index, &row.tokens);
                }
            }
            input = next.into_iter().map(|token| vec![token.unwrap_or(FILLER)]).collect();
        }
        Ok(rows.into_iter().map(|row| row.tokens).collect())
    }

    /// Every prompt must have tokens, and tokens the embedding knows.
    fn check(&self, prompts: &[Vec<u32>]) -> Result<(), Error> {
        let vocab_size = self.vocab_size();
        for (index, prompt) in prompts.iter().enumerate() {
            let unknown = prompt.iter().find(|&&token| token as usize >= vocab_size);
            let reason = match unknown {
                Some(token) => {
                    format!("token {token} is not below the vocabulary size {vocab_size}")
                }
                None if prompt.is_empty() => "it is empty, expected at least one token".into(),
                None => continue,
            };
            return Err(Error::Prompt { index, reason });
        }
        Ok(())
    }

    /// The token after `input`, rows of equal length that continue `cache`: the most likely one
    /// without a sampler. None where the logits are no numbers.
    fn next_tokens(
        &self,
        input: Vec<Vec<u32>>,
        cache: &mut KvCache,
        sampler: Option<&mut Sampler>,
    ) -> Result<Vec<Option<u32>>, Error> {
        let device = self.model.embed_tokens.weight.device();
        let logits = self.step(ids(input, &device), cache); // [batch, vocab]
        let failed = |e: burn::tensor::TensorReadError| Error::Device { reason: e.to_string() };
        let Some(sampler) = sampler else {
            let lost = logits.clone().is_nan().int().max_dim(1); // [batch, 1]
            let read = Tensor::cat(vec![logits.argmax(1), lost], 0).try_into_vec_as::<u32>();
            let mut tokens = read.map_err(failed)?;
            let lost = tokens.split_off(tokens.len() / 2);
            let token = |(token, lost)| (lost == 0).then_some(token);
            return Ok(tokens.into_iter().zip(lost).map(token).collect());
        };
        let vocab = logits.dims()[1];
        let logits = logits.cast(DType::F32).try_into_vec_as::<f32>().map_err(failed)?;
        let token = |(row, logits)| sampler.choose(row, logits);
        Ok(logits.chunks(vocab).enumerate().map(token).collect())
    }
}

fn ids(rows: Vec<Vec<u32>>, device: &Device) -> Tensor<2, Int> {
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    let ids: Vec<i64> = rows.into_iter().flatten().map(i64::from).collect();
    Tensor::from_data(TensorData::new(ids, shape), device)
}

/// One sequence being continued.
#[derive(Debug, Clone, Default)]
struct Row {
    tokens: Vec<u32>,
    ended: bool,
}

fn pad_left(prompts: &[Vec<u32>], padding: &[usize]) -> Vec<Vec<u32>> {
    let pad = |(prompt, &padding): (&Vec<u32>, &usize)| {
        let mut row = vec![FILLER; padding];
        row.extend(prompt);
        row
    };
    prompts.iter().zip(padding).map(pad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{gemma2_with, tiny};
    use peft_testing::device;
    use serde_json::json;

    fn prompts() -> Vec<Vec<u32>> {
        vec![vec![1, 2, 3, 4, 5, 6], vec![7], vec![8, 9, 10]]
    }

    /// The definition of greedy generation: the whole sequence again for each token.
    fn without_cache(model: &CausalLm, prompt: &[u32], max_new_tokens: usize) -> Vec<u32> {
        let mut tokens = prompt.to_vec();
        for _ in 0..max_new_tokens {
            let ids = TensorData::new(tokens.clone(), [1, tokens.len()]);
            let logits = model.forward(Tensor::from_data(ids, &device()), None);
            let last = logits.narrow(1, tokens.len() - 1, 1).argmax(2);
            tokens.push(last.try_into_vec_as::<u32>().unwrap()[0]);
        }
        tokens.split_off(prompt.len())
    }

    #[test]
    fn a_batch_equals_one_at_a_time_without_cache() {
        // A tied head would mostly repeat the last token. The window is shorter than a prompt.
        for config in [tiny(), gemma2_with(json!({"tie_word_embeddings": false}))] {
            let model = config.init(&device());
            let batch = model.generate(&prompts(), 12, &[]).unwrap();
            for (prompt, got) in prompts().iter().zip(batch) {
                assert_eq!(got, without_cache(&model, prompt, 12));
                assert_eq!(got, model.generate(std::slice::from_ref(prompt), 12, &[]).unwrap()[0]);
            }
        }
    }

    #[test]
    fn each_row_stops_at_its_own_end() {
        let model = tiny().init(&device());
        let full = model.generate(&prompts(), 8, &[]).unwrap();
        let eos = full[0][2];
        let stopped = model.generate(&prompts(), 8, &[eos]).unwrap();
        for (full, stopped) in full.iter().zip(stopped) {
            let end = full.iter().position(|&token| token == eos).unwrap_or(full.len());
            assert_eq!(stopped, full[..end]);
        }
    }

    #[test]
    fn a_model_on_an_autodiff_device_generates_the_same() {
        let model = tiny().init(&device().autodiff());
        let plain = model.valid();
        assert_eq!(
            model.generate(&prompts(), 4, &[]).unwrap(),
            plain.generate(&prompts(), 4, &[]).unwrap()
        );
    }

    #[test]
    fn a_model_that_is_no_number_continues_nothing() {
        let mut model = tiny().init(&device());
        model.model.norm.weight = model.model.norm.weight.map(|w| w.mul_scalar(f32::NAN));
        for sampling in [Sampling::Greedy, Sampling::new(1.0, 0.9, 0).unwrap()] {
            let error = model.continued(&prompts(), 2, &sampling, |_, _| false).unwrap_err();
            assert!(matches!(error, Error::Logits), "{error}");
        }
    }

    #[test]
    fn nothing_to_do() {
        let model = tiny().init(&device());
        assert!(model.generate(&[], 3, &[]).unwrap().is_empty());
        assert_eq!(model.generate(&[vec![1]], 0, &[]).unwrap(), [[0u32; 0]]);
    }

    #[test]
    fn bad_prompts_are_refused_by_their_place() {
        let model = tiny().init(&device());
        for (bad, problem) in [(vec![], "empty"), (vec![1, 19], "token 19 is not below")] {
            let error = model.generate(&[vec![1], bad], 1, &[]).unwrap_err();
            assert!(error.to_string().starts_with("prompt 1: "), "{error}");
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
