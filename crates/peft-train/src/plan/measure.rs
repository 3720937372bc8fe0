//! Scores on the held-back samples, before and after training.

use peft_llama::{CausalLm, Tokenizer};

use super::training::{Activity, Watch};
use crate::Error;
use crate::config::TrainingConfig;
use crate::data::Sample;
use crate::evaluate::evaluate_samples;
use crate::report::{DataReport, RunReport, Scores};
use crate::run::lies_in;

/// Scores of `model`; `None` where nothing was held back.
pub(super) fn measured(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    samples: &[Sample],
    config: &TrainingConfig,
    watch: Watch<'_>,
) -> Result<Option<Scores>, Error> {
    if samples.is_empty() {
        return Ok(None);
    }
    let (batch, tokens) = (config.micro_batch_size, config.eval_max_new_tokens);
    let total = samples.len() as u64;
    let progress = |done: usize| watch(Activity::Measuring { done: done as u64, total });
    evaluate_samples(model, tokenizer, samples, batch, tokens, progress).map(Some)
}

/// The base's scores as an earlier process of the run took them, on the same samples and in the same
/// way.
pub(super) fn taken_before(config: &TrainingConfig, data: &DataReport) -> Option<Scores> {
    let checkpoint = config.resume_from_checkpoint.as_ref()?;
    let dir = Some(&config.output_dir).filter(|dir| lies_in(checkpoint, dir))?;
    let RunReport { config: earlier, data: measured_on, before, .. } = RunReport::read(dir).ok()?;
    let same_samples = measured_on?.valid_sha256 == data.valid_sha256;
    let same_way = earlier["eval_max_new_tokens"] == config.eval_max_new_tokens;
    before.filter(|_| same_samples && same_way)
}
