//! What can be said on the command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn_peft::train::config;
use clap::{Parser, ValueEnum};

const DEFAULT_OUT: &str = "runs/losia_llama";
/// The repository's own model.
const OWN_MODEL: &str = "assets/tiny-llama";

/// Fine-tunes a LLaMA or Gemma checkpoint with LoSiA-Pro or another method: measures it on
/// held-back items, trains it, measures it again, and saves the merged model for transformers.
///
/// Without options it fine-tunes the small model of this repository on list tasks it has never
/// seen, in a few minutes on two CPU cores.
#[derive(Parser, Debug)]
#[command(version, args_override_self = true)]
pub struct Args {
    /// Folder of a Hugging Face LLaMA or Gemma checkpoint (safetensors, with its tokenizer).
    #[arg(long, default_value = OWN_MODEL)]
    pub model: PathBuf,
    /// Training data: a JSONL, JSON, CSV or Parquet file of {"instruction", "input"?, "output"},
    /// {"prompt", "completion"}, {"messages"} or {"text"}.
    #[arg(long, default_value = "assets/tasks/train.jsonl")]
    pub data: PathBuf,
    /// Items to measure with, in the same formats. Default: assets/tasks/held_back.jsonl for the
    /// default data, else a twentieth of the data, kept out of training.
    #[arg(long)]
    pub eval_data: Option<PathBuf>,
    /// Items of tasks the model knew before, measured too: what is forgotten.
    #[arg(long)]
    pub known_data: Option<PathBuf>,
    /// Output folder: run.json, metrics.jsonl, checkpoints, the adapter and, in `final/`, the merged
    /// model. Default: runs/losia_llama, in place of what an earlier run left there.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// How to train.
    #[arg(long, value_enum, default_value_t = MethodName::LosiaPro)]
    pub method: MethodName,
    /// Rank of low-rank adapters; of AdaLoRA's, the mean rank at the end.
    #[arg(long, default_value_t = 8)]
    pub rank: usize,
    /// Share of a weight's rows and of its columns in a subnet.
    #[arg(long, default_value_t = 0.125)]
    pub rank_factor: f64,
    /// Steps for which a layer's importance is gathered before its subnet moves.
    #[arg(long, default_value_t = 20)]
    pub period: usize,
    /// Share of the output head's rows that is trained. 0: the head is frozen.
    #[arg(long, default_value_t = 0.0)]
    pub output_dim_factor: f64,
    /// Peak learning rate. Default: what suits the method on the small model, and the method's own
    /// default on others (LoSiA 2e-5, LoRA 2e-4, AdaLoRA 1e-3, full 2e-5).
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Samples per optimizer step.
    #[arg(long, default_value_t = NonZeroUsize::new(32).unwrap())]
    pub batch: NonZeroUsize,
    /// Batches accumulated per optimizer step.
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    pub accumulate: NonZeroUsize,
    /// Passes over the data.
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    pub epochs: NonZeroUsize,
    /// Stop after that many optimizer steps.
    #[arg(long)]
    pub max_steps: Option<NonZeroUsize>,
    /// Longest sample, in tokens. Default: what the model was trained for, at most 2048.
    #[arg(long)]
    pub sequence_len: Option<NonZeroUsize>,
    /// Longest answer generated when measuring, in tokens. 0: only the loss is measured.
    #[arg(long, default_value_t = 32)]
    pub max_new_tokens: usize,
    /// Type of the frozen weights, of the computation and of what is saved. Default: f32 for the
    /// small model, and the checkpoint's own type for others.
    #[arg(long, value_enum)]
    pub dtype: Option<Precision>,
    /// Device: auto (a GPU if one is compiled in), flex, ndarray, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Seed of the order of samples and of the first subnets.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Steps between checkpoints. 0: one at the end only, and where the run is stopped.
    #[arg(long, default_value_t = 0)]
    pub save_steps: usize,
    /// Checkpoints to keep: the newest, and beside them the one with the lowest validation loss. 0: all.
    #[arg(long, default_value_t = 2)]
    pub save_total_limit: usize,
    /// Goes on from the last whole checkpoint in the output folder.
    #[arg(long)]
    pub resume: bool,
    /// Replaces what an earlier run left in the output folder.
    #[arg(long, conflicts_with = "resume")]
    pub overwrite_output_dir: bool,
    /// Leaves out malformed lines of the data instead of stopping.
    #[arg(long)]
    pub skip_bad_lines: bool,
    /// Plain progress lines even on a terminal, in place of Burn's dashboard, where q stops and Ctrl-C does
    /// nothing.
    #[arg(long)]
    pub plain: bool,
}

impl Args {
    /// The output folder.
    pub fn out(&self) -> &Path {
        self.out.as_deref().unwrap_or(Path::new(DEFAULT_OUT))
    }

    /// Whether the run is to replace what an earlier one left in the output folder.
    pub fn overwrites(&self) -> bool {
        self.overwrite_output_dir || self.out.is_none() && !self.resume
    }

    fn is_own_model(&self) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        real(&self.model).is_some_and(|model| Some(model) == real(Path::new(OWN_MODEL)))
    }

    /// The type asked for, or the default of the model; `None` is the checkpoint's.
    pub fn dtype(&self) -> Option<config::Precision> {
        self.dtype.or(self.is_own_model().then_some(Precision::F32)).map(Into::into)
    }

    /// The learning rate asked for, or what suits the method on the small model; `None` is the
    /// method's own default.
    pub fn learning_rate(&self) -> Option<f64> {
        let on_own_model = match self.method {
            MethodName::LosiaPro | MethodName::Losia | MethodName::FixedSubnets => 3e-3,
            MethodName::Lora | MethodName::Dora => 3e-3,
            MethodName::Pissa => 1e-3,
            MethodName::Adalora => 5e-3,
            MethodName::Full | MethodName::FullAll => 5e-4,
        };
        self.learning_rate.or(self.is_own_model().then_some(on_own_model))
    }
}

/// What to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// LoSiA-Pro: subnets computed on activations.
    LosiaPro,
    /// LoSiA: the same numbers by dense weights and gradients.
    Losia,
    /// Random subnets that never move.
    FixedSubnets,
    /// LoRA.
    Lora,
    /// LoRA with magnitudes trained apart from directions.
    Dora,
    /// LoRA that starts from the weights' principal components.
    Pissa,
    /// Low-rank adapters that share a budget of ranks.
    Adalora,
    /// Every weight of the layers' linear modules.
    Full,
    /// Every parameter, embeddings, norms and head included.
    FullAll,
}

impl From<MethodName> for config::MethodName {
    fn from(method: MethodName) -> Self {
        match method {
            MethodName::LosiaPro | MethodName::FixedSubnets => Self::LosiaPro,
            MethodName::Losia => Self::Losia,
            MethodName::Lora => Self::Lora,
            MethodName::Dora => Self::Dora,
            MethodName::Pissa => Self::Pissa,
            MethodName::Adalora => Self::Adalora,
            MethodName::Full | MethodName::FullAll => Self::Full,
        }
    }
}

/// Type of the frozen weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// bfloat16: half the memory of the frozen weights.
    Bf16,
    /// float16.
    F16,
}

impl From<Precision> for config::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
            Precision::F16 => Self::F16,
        }
    }
}
