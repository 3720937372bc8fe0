//! What settings are when they are not given.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use indexmap::IndexMap;

use super::{Devices, MethodName, TrainingConfig};
use crate::data::DatasetConfig;

impl TrainingConfig {
    /// Defaults for all that need not be given.
    pub fn new(
        base_model: impl Into<PathBuf>,
        method: MethodName,
        datasets: Vec<DatasetConfig>,
        output_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            base_model: base_model.into(),
            method,
            dtype: None,
            device: auto(),
            target_modules: None,
            exclude_modules: None,
            layers_to_transform: None,
            modules_to_save: Vec::new(),
            rank_factor: None,
            period: None,
            output_dim_factor: None,
            update_type: None,
            sensitivity: None,
            lora_r: None,
            lora_alpha: None,
            lora_dropout: None,
            use_rslora: None,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
            loraplus_lr_ratio: None,
            init_r: None,
            target_r: None,
            tinit: None,
            tfinal: None,
            delta_t: None,
            orth_reg_weight: None,
            orthogonality: None,
            importance: None,
            beta1: None,
            beta2: None,
            datasets,
            test_datasets: Vec::new(),
            val_set_size: 0.0,
            sequence_len: None,
            sample_packing: false,
            train_on_inputs: false,
            group_by_length: false,
            chat_template: None,
            dataset_prepared_path: None,
            skip_bad_lines: false,
            micro_batch_size: one(),
            gradient_accumulation_steps: one(),
            num_epochs: one(),
            max_steps: None,
            learning_rate: None,
            lr_scheduler: None,
            warmup_ratio: tenth(),
            min_lr_ratio: tenth(),
            weight_decay: 0.0,
            max_grad_norm: unit(),
            max_nonfinite_steps: five(),
            seed: 0,
            output_dir: output_dir.into(),
            logging_steps: ten(),
            eval_steps: None,
            early_stopping_patience: None,
            save_steps: save_steps(),
            save_total_limit: two(),
            eval_max_new_tokens: 0,
            resume_from_checkpoint: None,
            overwrite_output_dir: false,
        }
    }
}

pub(super) fn auto() -> Devices {
    "auto".into()
}

pub(super) fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

pub(super) fn five() -> NonZeroUsize {
    one().saturating_add(4)
}

pub(super) fn ten() -> NonZeroUsize {
    one().saturating_add(9)
}

pub(super) fn save_steps() -> usize {
    500
}

pub(super) fn two() -> usize {
    2
}

pub(super) fn tenth() -> f64 {
    0.1
}

pub(super) fn unit() -> f64 {
    1.0
}
