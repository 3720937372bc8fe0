//! Every setting of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use indexmap::IndexMap;
use peft_core::adapter::adalora::{Orthogonality, RankImportance};
use peft_core::schedule::UpdateType;
use peft_core::{Sensitivity, TargetModules};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lr_scheduler::LrShape;
use super::{Devices, MethodName, Precision, Problem, Problems, defaults};
use crate::Error;
use crate::data::DatasetConfig;

/// Every setting of a run, by the names that axolotl and Hugging Face PEFT have for them. What is
/// optional and absent has the default that its description says.
///
/// Settings that only some methods have are refused beside another method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "burn-peft run")]
pub struct TrainingConfig {
    /// Folder of the base model: a LLaMA or Gemma checkpoint as Hugging Face publishes them, with
    /// its tokenizer; or the name of one in the Hugging Face cache: `org/name`.
    pub base_model: PathBuf,
    /// How to train.
    pub method: MethodName,
    /// Type of the frozen weights and of the computation. Default: that of the checkpoint.
    pub dtype: Option<Precision>,
    /// Device: `auto` (a GPU if one is compiled in and there), `flex`, `ndarray`, `wgpu`, `cuda` or
    /// `cuda:N`; or a list of devices that share the batches of a step.
    #[serde(default = "defaults::auto")]
    pub device: Devices,

    /// Linear modules taken: `all-linear` (all but the output head), a regular expression for the
    /// whole path, or a list of names or ends of paths. Default: `all-linear`; with `full`, every
    /// parameter of the model.
    pub target_modules: Option<TargetModules>,
    /// Modules left out of `target_modules`, written like these.
    pub exclude_modules: Option<TargetModules>,
    /// Layers taken, by the number in a module's path, as PEFT reads it. Default: all.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Modules trained densely beside the method's, without adapters, by an end of their path as in PEFT
    /// (`norm` stands for every norm, `model.norm` for the last), or parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,

    /// Share of a weight's rows and of its columns in its subnet, in (0, 1]. Default: 0.125.
    pub rank_factor: Option<f64>,
    /// Steps for which a layer's importance is gathered before its subnet moves. The best period
    /// grows with the data. At most 1000000000. Default: 100.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub period: Option<usize>,
    /// Share of the output head's vocabulary rows that has a subnet, in [0, 1]. Default: 0, a
    /// frozen head.
    pub output_dim_factor: Option<f64>,
    /// Which layers share a slot. Default: `asynchronous`.
    pub update_type: Option<UpdateType>,
    /// How importance is measured. Default: `param_mix`.
    pub sensitivity: Option<Sensitivity>,

    /// Rank of the adapters, at most 65536. Default: 8.
    #[schemars(range(min = 1, max = 65_536))]
    pub lora_r: Option<usize>,
    /// Strength of the adapters, which are scaled by `lora_alpha` over their rank. Default: 8.
    pub lora_alpha: Option<f64>,
    /// Probability of dropping an entry of an adapter's input, in [0, 1). Default: 0.
    pub lora_dropout: Option<f64>,
    /// Scale by `lora_alpha` over the square root of the rank (rsLoRA). Default: false.
    pub use_rslora: Option<bool>,
    /// Ranks of some modules in place of `lora_r`: `{ q_proj = 16 }`. The first regular expression
    /// that matches a module's path, or its end from a dot on, wins.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub rank_pattern: IndexMap<String, usize>,
    /// `lora_alpha` of some modules, written like `rank_pattern`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub alpha_pattern: IndexMap<String, f64>,
    /// Learning rate of B, and of DoRA's magnitudes, as a multiple of that of A (LoRA+). Default: 1.
    pub loraplus_lr_ratio: Option<f64>,

    /// Rank of every weight at the start, at most 65536. Default: 12.
    #[schemars(range(min = 1, max = 65_536))]
    pub init_r: Option<usize>,
    /// Mean rank of the weights at the end, at most 65536. Default: 8.
    #[schemars(range(min = 1, max = 65_536))]
    pub target_r: Option<usize>,
    /// Steps before ranks are first cut. Default: 0.
    pub tinit: Option<usize>,
    /// Steps trained with the final ranks. Default: 0.
    pub tfinal: Option<usize>,
    /// Steps between cuts. Default: 1.
    #[serde(rename = "deltaT")]
    #[schemars(range(min = 1))]
    pub delta_t: Option<usize>,
    /// Weight of the regulariser that keeps P and Q orthogonal. Default: 0.5.
    pub orth_reg_weight: Option<f64>,
    /// Form of that regulariser. Default: `mean_norm`, that of PEFT and of the authors' code.
    pub orthogonality: Option<Orthogonality>,
    /// How importance of ranks is measured. Default: `smoothed`.
    pub importance: Option<RankImportance>,
    /// Smoothing of the importance of ranks, in [0, 1). Default: 0.85.
    pub beta1: Option<f64>,
    /// Smoothing of the variation of that importance, in [0, 1). Default: 0.85.
    pub beta2: Option<f64>,

    /// What to train on.
    pub datasets: Vec<DatasetConfig>,
    /// What to measure on, kept out of training. Give this or `val_set_size`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_datasets: Vec<DatasetConfig>,
    /// Part of the training data that is held back to measure on: a share below 1, or a number of
    /// examples.
    #[serde(default)]
    pub val_set_size: f64,
    /// Longest sample, in tokens; what lies beyond is cut and counted. Default: what the model was
    /// trained for, at most 2048.
    pub sequence_len: Option<NonZeroUsize>,
    /// Fills every row with several samples, which do not attend to each other.
    #[serde(default)]
    pub sample_packing: bool,
    /// Takes the loss over prompts too.
    #[serde(default)]
    pub train_on_inputs: bool,
    /// Puts samples of like length into a batch, to save padding.
    #[serde(default)]
    pub group_by_length: bool,
    /// Jinja file of the template by which conversations become text. Default: the checkpoint's.
    pub chat_template: Option<PathBuf>,
    /// Folder in which tokenized datasets are kept for the next run. Default: they are not kept.
    pub dataset_prepared_path: Option<PathBuf>,
    /// Leaves out malformed lines of the data, counted, instead of stopping.
    #[serde(default)]
    pub skip_bad_lines: bool,

    /// Samples per forward pass, at most 65536.
    #[serde(default = "defaults::one")]
    #[schemars(range(max = 65_536))]
    pub micro_batch_size: NonZeroUsize,
    /// Forward passes of each device per optimizer step, at most 1000000.
    #[serde(default = "defaults::one")]
    #[schemars(range(max = 1_000_000))]
    pub gradient_accumulation_steps: NonZeroUsize,
    /// Passes over the data, at most 1000000.
    #[serde(default = "defaults::one")]
    #[schemars(range(max = 1_000_000))]
    pub num_epochs: NonZeroUsize,
    /// Optimizer steps of the run, in place of `num_epochs`, at most 1000000000.
    #[schemars(range(max = 1_000_000_000))]
    pub max_steps: Option<NonZeroUsize>,

    /// Peak learning rate. Default: the method's (LoSiA 2e-5, LoRA 2e-4, AdaLoRA 1e-3, full 2e-5).
    pub learning_rate: Option<f64>,
    /// Shape of the learning rate: `cosine`, `linear` or `constant`; LoSiA: `cosine_restarts`,
    /// `no_rewarming` or `cosine`. Default: `cosine`, LoSiA `cosine_restarts`, as in its paper's scripts.
    pub lr_scheduler: Option<LrShape>,
    /// Share of the run spent warming up, in [0, 1].
    #[serde(default = "defaults::tenth")]
    pub warmup_ratio: f64,
    /// Where the decay ends, as a share of the peak, in [0, 1].
    #[serde(default = "defaults::tenth")]
    pub min_lr_ratio: f64,
    /// Decoupled weight decay of what trains, but for norms and biases.
    #[serde(default)]
    pub weight_decay: f64,
    /// Clips the global norm of the gradients of all that trains. 0: no clipping.
    #[serde(default = "defaults::unit")]
    pub max_grad_norm: f64,
    /// Steps in a row that are skipped because their loss or gradients are not finite, after which the run
    /// stops.
    #[serde(default = "defaults::five")]
    pub max_nonfinite_steps: NonZeroUsize,
    /// Seed of the order of samples and of all that is drawn.
    #[serde(default)]
    pub seed: u64,

    /// Folder for all that the run writes.
    pub output_dir: PathBuf,
    /// Steps between lines in `metrics.jsonl`.
    #[serde(default = "defaults::ten")]
    pub logging_steps: NonZeroUsize,
    /// Steps between validations, also within an epoch; one more is at the end of the run. Default:
    /// one at the end of every epoch.
    pub eval_steps: Option<NonZeroUsize>,
    /// Validations in a row without a lower loss after which the run ends. Default: it takes all its
    /// steps.
    pub early_stopping_patience: Option<NonZeroUsize>,
    /// Steps between checkpoints; one more is written before every validation, and at the end. 0: one only
    /// at the end, and when the run is interrupted.
    #[serde(default = "defaults::save_steps")]
    pub save_steps: usize,
    /// Checkpoints kept: the newest, and beside them the best. 0: all.
    #[serde(default = "defaults::two")]
    pub save_total_limit: usize,
    /// Longest answer generated to measure exact match on the held-back samples before and after
    /// training, in tokens. 0: only the loss is measured.
    #[serde(default)]
    pub eval_max_new_tokens: usize,
    /// Checkpoint folder to go on from.
    pub resume_from_checkpoint: Option<PathBuf>,
    /// Lets the run remove what an earlier one left in `output_dir`.
    #[serde(default)]
    pub overwrite_output_dir: bool,
}

impl TrainingConfig {
    /// The configuration as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] for a path that is no text.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| {
            let message = format!("the configuration cannot be written as TOML: {e}");
            Problems(vec![Problem { place: None, message, hint: None }]).into()
        })
    }
}
