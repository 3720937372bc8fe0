//! How large a run's checkpoints are.

use indicatif::DecimalBytes;
use peft_core::adapter::lora::{LoraConfig, LoraInit};
use peft_core::schedule::UpdateType;
use peft_core::{Outline, ParamInfo};

use super::method::MethodSettings;
use super::slots::SlotPlan;
use crate::config::TrainingConfig;

/// Bytes of a checkpoint, but for names, shapes and hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSize {
    /// What trains and its two moments, f32, and what else the method keeps of it.
    pub bytes: usize,
    /// What every move of a subnet adds, on average: the values of the subnet left behind.
    pub per_move: usize,
}

impl CheckpointSize {
    pub(super) fn new(method: &MethodSettings, outline: &Outline, slots: Option<SlotPlan>) -> Self {
        let adapters: usize = outline.adapted.iter().map(|weight| weight.trainable).sum();
        let dense: usize = outline.dense.iter().map(ParamInfo::num_elements).sum();
        let (own, per_move) = match (method, slots) {
            // The factors taken out of the weights.
            (MethodSettings::Lora(lora), _) if is_pissa(lora) => (4 * adapters, 0),
            // Sensitivity and uncertainty of every factor.
            (MethodSettings::AdaLora(_), _) => (8 * adapters, 0),
            // Those of the layer being localised.
            (MethodSettings::Losia(losia), Some(slots)) => {
                let moved = match losia.update_type {
                    UpdateType::Asynchronous => adapters / slots.count.max(1),
                    UpdateType::Synchronous => adapters,
                    UpdateType::Fixed => 0,
                };
                (8 * slots.localized, 4 * moved)
            }
            _ => (0, 0),
        };
        Self { bytes: 12 * (adapters + dense) + own, per_move }
    }

    /// When checkpoints are written, how large they are, and which stay: the best, too, where validations
    /// tell it.
    pub(super) fn describe(self, config: &TrainingConfig, has_best: bool) -> String {
        let when = match config.save_steps {
            0 => "at the end".to_string(),
            steps => format!("every {steps} steps"),
        };
        let grow = match self.per_move {
            0 => String::new(),
            bytes => format!(" and {} for every move of a subnet", DecimalBytes(bytes as u64)),
        };
        let best = if has_best { " and the best" } else { "" };
        let kept = match config.save_total_limit {
            0 => "all".to_string(),
            limit => format!("the newest {limit}{best}"),
        };
        format!("{when}, {} each{grow}; kept: {kept}", DecimalBytes(self.bytes as u64))
    }
}

fn is_pissa(lora: &LoraConfig) -> bool {
    matches!(lora.init_lora_weights, LoraInit::Pissa | LoraInit::PissaNiter(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TypedConfig;

    #[test]
    fn checkpoints_are_told_by_when_size_and_number() {
        let text = |size: CheckpointSize, settings: &[&str], has_best| {
            let toml = "base_model = \"m\"\nmethod = \"full\"\ndatasets = [{path = \"d\"}]\n\
                        output_dir = \"o\"\n";
            let settings: Vec<_> = settings.iter().map(|setting| setting.to_string()).collect();
            size.describe(
                &TypedConfig::parse(toml, "run.toml", &settings).unwrap().config,
                has_best,
            )
        };
        let size = CheckpointSize { bytes: 12_000, per_move: 0 };
        assert_eq!(
            text(size, &[], true),
            "every 500 steps, 12.00 kB each; kept: the newest 2 and the best"
        );
        assert_eq!(
            text(size, &["save_total_limit=1"], false),
            "every 500 steps, 12.00 kB each; kept: the newest 1"
        );
        let losia = CheckpointSize { per_move: 40, ..size };
        assert_eq!(
            text(losia, &["save_steps=0", "save_total_limit=0"], true),
            "at the end, 12.00 kB each and 40 B for every move of a subnet; kept: all"
        );
    }
}
