//! Tasks the model knew before: what is forgotten.

use std::error::Error;
use std::path::Path;

use burn::tensor::Device;
use burn_peft::core::device_by_name;
use burn_peft::llama::{Checkpoint, Tokenizer};
use burn_peft::train::config::TrainingConfig;
use burn_peft::train::data::{Example, read_jsonl};
use burn_peft::train::report::{RunReport, Scores, write_report};
use burn_peft::train::{self, EvaluateOptions, evaluate};

use crate::args::Args;

/// Items of such tasks, and how they are measured: as the others.
pub struct Known {
    items: Vec<Example>,
    device: Device,
    config: TrainingConfig,
}

impl Known {
    /// Reads the items, if there are any.
    pub fn read(args: &Args, config: &TrainingConfig) -> Result<Option<Self>, train::Error> {
        let Some(path) = &args.known_data else { return Ok(None) };
        let items = read_jsonl(path, None, args.skip_bad_lines)?.examples;
        let device = device_by_name(&args.device)?;
        Ok(Some(Self { items, device, config: config.clone() }))
    }

    /// Measures the models in the folders `before` and `after`, and adds the scores to the report of the
    /// run in `out`.
    pub fn report(
        &self,
        before: &Path,
        after: &Path,
        out: &Path,
    ) -> Result<[Scores; 2], Box<dyn Error>> {
        let scores = [self.measure(before)?, self.measure(after)?];
        RunReport { known: Some(scores), ..RunReport::read(out)? }.write(out)?;
        write_report(out)?;
        Ok(scores)
    }

    fn measure(&self, dir: &Path) -> Result<Scores, train::Error> {
        let checkpoint = Checkpoint::open(dir)?;
        let tokenizer = Tokenizer::from_dir(dir, checkpoint.config())?;
        let dtype = self.config.dtype.map(Into::into);
        let (model, _) = checkpoint.load(&self.device, dtype, |_| ())?;
        let options = EvaluateOptions {
            batch_size: self.config.micro_batch_size,
            sequence_len: self.config.sequence_len.map_or(0, Into::into),
            max_new_tokens: self.config.eval_max_new_tokens,
        };
        evaluate(&model, &tokenizer, &self.items, options, |_| ())
    }
}
