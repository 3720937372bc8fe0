//! What to do about an error.

use super::Error;

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::NoMatch { available, .. } => {
                let shown = available.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
                let more = available.len().saturating_sub(12);
                match more {
                    0 => format!("this model has: {shown}"),
                    _ => format!("this model has: {shown} and {more} more"),
                }
            }
            Error::AlreadyAttached { .. } => {
                "merge it first with `Module::materialize`, or start from the plain model".into()
            }
            Error::ParameterGone { .. } => {
                "step the model that `Tuner::attach` returned, and load records into it only".into()
            }
            Error::NotFinite { .. } => {
                "lower the learning rate or clip gradients, and check the data; checkpoints from \
                 before this step are intact; f16 holds no value above 65504, bf16 does"
                    .into()
            }
            Error::NoAdapter { available, .. } => format!("there are: {}", available.join(", ")),
            Error::Irreversible { .. } => {
                "keep a clone of the model from before, which shares memory, or load it again"
                    .into()
            }
            Error::NotAllocated { .. } => {
                "train to the end of the schedule, or set `total_steps` to the steps of this run; \
                 without pruning, LoRA is the method"
                    .into()
            }
            Error::UndecidedRanks => {
                "an adapter with all its ranks is LoRA by another name: use it attached, or train \
                 it to its last cut"
                    .into()
            }
            Error::Record { .. } => {
                "restore with the configuration and base model the record was written with".into()
            }
            Error::DeviceMissing { .. } => {
                "check that its driver is installed (`nvidia-smi`, `vulkaninfo`), or choose another \
                 device"
                    .into()
            }
            Error::Device { compiled, .. } => format!(
                "this build has {}; others are Cargo features (`--features cuda`)",
                compiled.join(", ")
            ),
            Error::Pattern { key: "rank_pattern" | "alpha_pattern", .. } => {
                "these are regular expressions without look-around and back-references".into()
            }
            Error::Pattern { .. } => {
                "a list such as [\"q_proj\", \"v_proj\"] needs no regular expression".into()
            }
            Error::File { hint, .. } | Error::Unsupported { hint, .. } => (*hint).into(),
            Error::Key { key, .. } if key == "peft_type" => {
                "adapters of other methods are not read: merge it into its base model with PEFT \
                 (`merge_and_unload`), and load that"
                    .into()
            }
            Error::Key { .. } => "compare with the file as PEFT wrote it".into(),
            Error::StoredTensor { .. } => {
                "configuration, tensors and base model must be those of one training run".into()
            }
            Error::Setting { key, .. } => return setting(key).map(Into::into),
            Error::Subnet { .. } => return None,
        })
    }
}

/// What to do about a setting, where its range alone does not say it.
fn setting(key: &str) -> Option<&'static str> {
    Some(match key {
        "r" => "8 to 64 is usual; `exclude_modules` leaves out weights too small for it",
        "target_r" => "lower `target_r` or raise `init_r`, from which ranks are cut",
        "output_head" => {
            "name the head's weight, such as `lm_head.weight`, or set `output_dim_factor` to 0"
        }
        "adapter" | "adapters" => "an adapter fits only the base model it was trained on",
        "init_lora_weights" => "the base model's file is damaged: download or write it again",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::adapter::losia::LosiaConfig;

    #[test]
    fn a_setting_has_a_hint_where_its_range_does_not_say_all() {
        let hint = |config: LosiaConfig| config.validate().unwrap_err().hint();
        let head =
            LosiaConfig { output_head: None, output_dim_factor: 0.5, ..LosiaConfig::new(10) };
        assert!(hint(head).unwrap().contains("`lm_head.weight`"));
        assert_eq!(hint(LosiaConfig::new(0)), None);
    }
}
