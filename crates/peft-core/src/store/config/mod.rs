//! `adapter_config.json`.

mod check;
mod read;
mod unsupported;
mod write;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TargetModules;

/// What an `adapter_config.json` says.
///
/// Keys without a field are kept in [`extra`](Self::extra) and written again. Values are checked
/// whenever a folder is read or written.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    /// The method, with the settings of its own.
    pub peft_type: PeftType,
    /// Numerator of the scale, above 0. LoRA scales by `lora_alpha / r` (rsLoRA by
    /// `lora_alpha / sqrt(r)`), AdaLoRA by `lora_alpha / (init_r + 1e-5)`.
    pub lora_alpha: f64,
    /// Probability with which an adapter's inputs are zeroed in training, in `[0, 1)`.
    pub lora_dropout: f64,
    /// Modules adapted.
    pub target_modules: TargetModules,
    /// Modules left out again.
    pub exclude_modules: Option<TargetModules>,
    /// Layers adapted, all unless given; only beside a list of `target_modules`.
    pub layers_to_transform: Option<Vec<usize>>,
    /// How the adapter was initialised.
    pub init_lora_weights: InitLoraWeights,
    /// Modules stored whole beside the adapter.
    pub modules_to_save: Option<Vec<String>>,
    /// PEFT's name of the model's task, such as `CAUSAL_LM`.
    pub task_type: Option<String>,
    /// The base model, as a folder or a name on the Hugging Face hub.
    pub base_model_name_or_path: Option<String>,
    /// Whether PEFT loads the adapter frozen. True in every file PEFT writes.
    pub inference_mode: bool,
    /// All other keys.
    pub extra: BTreeMap<String, Value>,
}

/// A method, with the settings of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum PeftType {
    /// `LORA`: LoRA, rsLoRA and DoRA.
    Lora(LoraFields),
    /// `ADALORA`
    AdaLora(AdaLoraFields),
}

/// Settings of LoRA.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFields {
    /// Rank, at least 1.
    pub r: usize,
    /// Divide by the square root of the rank (rsLoRA).
    pub use_rslora: bool,
    /// Train the magnitudes of the weight's rows apart from their directions (DoRA).
    pub use_dora: bool,
    /// Ranks other than `r`, for modules whose path matches; see
    /// [`Patterns`](super::Patterns).
    pub rank_pattern: IndexMap<String, usize>,
    /// Numerators other than `lora_alpha`, for modules whose path matches.
    pub alpha_pattern: IndexMap<String, f64>,
}

impl LoraFields {
    /// Plain LoRA of rank `r` everywhere.
    pub fn new(r: usize) -> Self {
        Self {
            r,
            use_rslora: false,
            use_dora: false,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }

    /// LoRA of a rank for each module, by path, all of them scaled by `lora_alpha / r`.
    pub(super) fn uniform(ranks: &BTreeMap<&str, usize>, lora_alpha: f64) -> Self {
        let mut fields = Self::new(ranks.values().copied().max().unwrap_or(1));
        let scaling = lora_alpha / fields.r as f64;
        for (path, rank) in ranks.iter().filter(|(_, rank)| **rank != fields.r) {
            let whole_path = format!("^{}", regex::escape(path)); // not the end of another path
            fields.rank_pattern.insert(whole_path.clone(), *rank);
            fields.alpha_pattern.insert(whole_path, scaling * *rank as f64);
        }
        fields
    }
}

/// Settings of AdaLoRA. Steps count from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaLoraFields {
    /// Rank each module starts with, at least 1. It stays in the scale, whatever rank survives.
    pub init_r: usize,
    /// Average rank of a module at the end, at least 1.
    pub target_r: usize,
    /// Steps before the first reduction.
    pub tinit: usize,
    /// Steps after the last reduction.
    pub tfinal: usize,
    /// Steps from one reduction to the next, at least 1.
    pub delta_t: usize,
    /// Smoothing of the importance, above 0 and below 1.
    pub beta1: f64,
    /// Smoothing of its uncertainty, above 0 and below 1.
    pub beta2: f64,
    /// Weight of the orthogonality penalty, at least 0.
    pub orth_reg_weight: f64,
    /// Steps of the whole training, above `tinit + tfinal`.
    pub total_step: usize,
    /// Which of the `init_r` triplets of a module survive, by module path. Modules without an
    /// entry keep all; `None` before the first reduction.
    pub rank_pattern: Option<BTreeMap<String, Vec<bool>>>,
}

impl AdaLoraFields {
    /// PEFT's defaults for a training of that many steps.
    pub fn new(total_step: usize) -> Self {
        Self {
            init_r: 12,
            target_r: 8,
            tinit: 0,
            tfinal: 0,
            delta_t: 1,
            beta1: 0.85,
            beta2: 0.85,
            orth_reg_weight: 0.5,
            total_step,
            rank_pattern: None,
        }
    }
}

/// How an adapter was initialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum InitLoraWeights {
    /// True: as its paper says, so that a fresh adapter changes nothing. False: at random.
    Default(bool),
    /// One of PEFT's named ways that leave the base model as it is: `gaussian`, `eva`,
    /// `orthogonal`, `mica`.
    Named(String),
}

impl AdapterConfig {
    /// A configuration without dropout, for an adapter in the default initialisation. PEFT reads
    /// it once it is written.
    pub fn new(peft_type: PeftType, lora_alpha: f64, target_modules: TargetModules) -> Self {
        Self {
            peft_type,
            lora_alpha,
            lora_dropout: 0.0,
            target_modules,
            exclude_modules: None,
            layers_to_transform: None,
            init_lora_weights: InitLoraWeights::Default(true),
            modules_to_save: None,
            task_type: None,
            base_model_name_or_path: None,
            inference_mode: true,
            extra: BTreeMap::new(),
        }
    }

    /// LoRA of `fields` on `modules`, with all that this configuration says besides.
    pub(super) fn as_lora(&self, fields: LoraFields, modules: Vec<String>) -> Self {
        Self {
            peft_type: PeftType::Lora(fields),
            target_modules: TargetModules::Names(modules),
            exclude_modules: None,
            layers_to_transform: None,
            ..self.clone()
        }
    }
}
