//! How much memory a run needs, estimated before anything is loaded.

mod activations;
mod available;
mod cgroup;

use std::fmt;

use burn::tensor::DType;
use indicatif::DecimalBytes;
use peft_core::{Catalogue, Outline, ParamInfo};
use peft_llama::DecoderConfig;

use super::base::Base;
use super::method::MethodSettings;
use super::slots::SlotPlan;
use crate::Error;
use crate::config::{Problems, TrainingConfig, TypedConfig};
pub(super) use activations::shared_inputs;
use activations::{Batch, Extras};
pub use available::Available;

/// Bytes of an f32.
const F32: usize = 4;

/// The memory of a training step, in bytes, by what it is for. What a backend keeps for itself
/// (kernels, caches, unused parts of memory pools) is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Weights of the base model; those trained densely twice, as a step writes new ones.
    pub weights: usize,
    /// Adapters, f32.
    pub adapters: usize,
    /// Gradients of all that trains, f32, and LoSiA's dense ones of the layer being localised.
    pub gradients: usize,
    /// Moments of the optimizer, and f32 values of what it steps in half precision.
    pub optimizer: usize,
    /// Importance: of the layer being localised with LoSiA, of every factor with AdaLoRA.
    pub importance: usize,
    /// What the forward pass keeps for the backward pass, and the loss.
    pub activations: usize,
}

/// Estimates the memory of a step on a batch whose longest row has `tokens`.
pub(super) fn estimate(
    method: &MethodSettings,
    config: &TrainingConfig,
    base: &Base,
    outline: &Outline,
    slots: Option<SlotPlan>,
    tokens: usize,
) -> MemoryEstimate {
    let (rows, size) = (config.micro_batch_size.get(), base.dtype.dtype.size());
    // Gradients that are summed up or scaled are made f32.
    let is_f32 = config.gradient_accumulation_steps.get() > 1 || base.dtype.dtype == DType::F16;
    let gradient_size = if is_f32 { F32 } else { size };
    let (decoder, batch) = (base.checkpoint.config(), Batch { rows, tokens, size, gradient_size });
    MemoryEstimate::new(method, decoder, &base.catalogue, outline, slots, batch)
}

/// Refuses a run that cannot fit, and notes one that may not.
pub(super) fn check(
    typed: &TypedConfig,
    estimate: MemoryEstimate,
    available: Option<Available>,
) -> Result<Option<String>, Error> {
    let Some(available) = available else { return Ok(None) };
    if estimate.certain() > available.total {
        let message = format!(
            "this run needs {} without activations ({estimate}), but there are {} of memory",
            DecimalBytes(estimate.certain() as u64),
            DecimalBytes(available.total as u64),
        );
        let hint = "train in bf16, with fewer trained parameters, or on another device";
        return Err(Problems(vec![typed.problem("device", message, Some(hint.into()))]).into());
    }
    let may_not_fit = estimate.total() > available.free.unwrap_or(available.total);
    Ok(may_not_fit.then(|| {
        format!(
            "a step may need {}, and there are {available}: lower `micro_batch_size` or \
             `sequence_len` if it runs out",
            DecimalBytes(estimate.total() as u64),
        )
    }))
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> usize {
        self.certain().saturating_add(self.activations)
    }

    /// All but activations: what no smaller batch and no shorter sequence would save.
    pub fn certain(&self) -> usize {
        self.weights + self.adapters + self.gradients + self.optimizer + self.importance
    }

    fn new(
        method: &MethodSettings,
        config: &DecoderConfig,
        catalogue: &Catalogue,
        outline: &Outline,
        slots: Option<SlotPlan>,
        batch: Batch,
    ) -> Self {
        let size = batch.size;
        let localized = slots.map_or(0, |slots| slots.localized);
        let adapters: usize = outline.adapted.iter().map(|weight| weight.trainable).sum();
        let dense: usize = outline.dense.iter().map(ParamInfo::num_elements).sum();
        Self {
            weights: size * (catalogue.num_elements() + dense),
            adapters: F32 * adapters,
            gradients: F32 * (adapters + dense) + batch.gradient_size * localized,
            optimizer: 2 * F32 * (adapters + dense) + if size < F32 { F32 * dense } else { 0 },
            importance: match method {
                MethodSettings::AdaLora(_) => 2 * F32 * adapters,
                _ => 2 * F32 * localized,
            },
            activations: activations::of_decoder(config, batch)
                .saturating_add(activations::of_method(outline, extras(method, slots), batch)),
        }
    }
}

fn extras(method: &MethodSettings, slots: Option<SlotPlan>) -> Extras {
    let none = Extras::default();
    match method {
        MethodSettings::Full(_) => none,
        // Composed weights keep all inputs anyway.
        MethodSettings::Losia(config) if !config.pro => none,
        MethodSettings::Losia(_) => {
            Extras { localized_inputs: slots.map_or(0, |slots| slots.inputs), ..none }
        }
        MethodSettings::Lora(config) => Extras {
            rank: config.r,
            dropout: config.lora_dropout > 0.0,
            outputs: config.use_dora,
            ..none
        },
        MethodSettings::AdaLora(config) => {
            Extras { rank: config.init_r, dropout: config.lora_dropout > 0.0, ..none }
        }
    }
}

impl fmt::Display for MemoryEstimate {
    /// The parts that are not empty, largest first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = [
            ("weights", self.weights),
            ("adapters", self.adapters),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("importance", self.importance),
            ("activations", self.activations),
        ];
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let parts = parts.into_iter().filter(|(_, bytes)| *bytes > 0);
        let parts: Vec<_> =
            parts.map(|(name, bytes)| format!("{name} {}", DecimalBytes(bytes as u64))).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_listed_by_size_and_sum_up() {
        let estimate = MemoryEstimate {
            weights: 2000,
            adapters: 10,
            gradients: 20,
            optimizer: 40,
            importance: 0,
            activations: 3000,
        };
        assert_eq!((estimate.certain(), estimate.total()), (2070, 5070));
        assert_eq!(
            estimate.to_string(),
            "activations 3.00 kB, weights 2.00 kB, optimizer 40 B, gradients 20 B, adapters 10 B"
        );
    }

    #[test]
    fn what_cannot_fit_is_refused_and_what_may_not_is_noted() {
        let toml = "base_model = \"m\"\nmethod = \"full\"\ndatasets = [{path = \"d\"}]\n\
                    output_dir = \"o\"\ndevice = \"flex\"\n";
        let typed = TypedConfig::parse(toml, "run.toml", &[]).unwrap();
        let estimate = MemoryEstimate { weights: 2000, activations: 3000, ..Default::default() };
        let check = |total, free| check(&typed, estimate, Some(Available { total, free }));
        let error = check(1500, Some(1000)).unwrap_err();
        let notes = [check(6000, Some(4000)), check(4500, None)].map(|note| note.unwrap().unwrap());
        insta::assert_snapshot!(format!("{error}\n\n{}", notes.join("\n\n")));
        assert_eq!(check(6000, Some(5000)).unwrap(), None);
        assert_eq!(check(5000, None).unwrap(), None);
        assert_eq!(super::check(&typed, estimate, None).unwrap(), None);
    }
}
