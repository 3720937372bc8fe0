//! A weighted sum of LoRA adapters as one adapter.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;

use super::{AdapterConfig, AdapterFiles, LoraFields, ModuleTensors, Patterns, PeftType};
use crate::error::check;
use crate::{Error, TargetModules};

impl AdapterFiles {
    /// `Σ wᵢ·ΔWᵢ` of LoRA adapters for the same base: factors are concatenated, so that the sum is
    /// exact and ranks add up (PEFT's `add_weighted_adapter` with `combination_type="cat"`).
    ///
    /// # Errors
    /// [`Error::Setting`] for no adapter, for DoRA, AdaLoRA (export it as LoRA first) and adapters
    /// with parameters stored whole, and for weights that are not finite.
    pub fn weighted(adapters: &[(&AdapterFiles, f64)]) -> Result<Self, Error> {
        check(!adapters.is_empty(), "adapters", "none", "at least one")?;
        for (adapter, weight) in adapters {
            check(weight.is_finite(), "weight", weight, "a finite number")?;
            let plain = matches!(&adapter.config.peft_type, PeftType::Lora(f) if !f.use_dora);
            check(plain, "peft_type", "no plain LoRA", "LORA without DoRA to be combined")?;
            let whole: Vec<_> = adapter.other.keys().collect();
            let expected = "no parameters stored whole in adapters to be combined";
            check(whole.is_empty(), "modules_to_save", format!("{whole:?}"), expected)?;
        }
        let paths: BTreeSet<&String> =
            adapters.iter().flat_map(|(adapter, _)| adapter.modules.keys()).collect();
        let mut fields = LoraFields::new(1);
        let mut modules = BTreeMap::new();
        for path in paths {
            let (rank, tensors) = concatenated(path, adapters)?;
            let pattern = regex::escape(path);
            fields.rank_pattern.insert(pattern.clone(), rank);
            fields.alpha_pattern.insert(pattern, rank as f64); // a scaling of 1
            fields.r = fields.r.max(rank);
            modules.insert(path.clone(), tensors);
        }
        let names = TargetModules::Names(modules.keys().cloned().collect());
        let alpha = fields.r as f64;
        let config = AdapterConfig::new(PeftType::Lora(fields), alpha, names);
        Ok(Self { config, modules, other: BTreeMap::new() })
    }
}

/// A and B of one module in all adapters that have it, and their rank.
fn concatenated(
    path: &str,
    adapters: &[(&AdapterFiles, f64)],
) -> Result<(usize, ModuleTensors), Error> {
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let (mut d_input, mut d_output) = (0, 0);
    for (adapter, weight) in adapters {
        let Some(ModuleTensors::Lora { a, b, .. }) = adapter.modules.get(path) else { continue };
        let factor = (weight * adapter.config.scaling(path)?) as f32;
        let (a_shape, b_shape) = (a.shape(), b.shape());
        check(
            d_input == 0 || [d_input, d_output] == [a_shape[1], b_shape[0]],
            "adapters",
            format!("of different shapes at `{path}`"),
            "adapters for one base model",
        )?;
        (d_input, d_output) = (a_shape[1], b_shape[0]);
        down.extend(a.iter::<f32>());
        let b: Vec<f32> = b.iter::<f32>().map(|value| value * factor).collect();
        up.push((b, b_shape[1]));
    }
    let rank: usize = up.iter().map(|(_, rank)| rank).sum();
    let row = |row: usize| up.iter().flat_map(move |(b, rank)| &b[row * rank..(row + 1) * rank]);
    let b: Vec<f32> = (0..d_output).flat_map(row).copied().collect();
    let a = TensorData::new(down, [rank, d_input]);
    let b = TensorData::new(b, [d_output, rank]);
    Ok((rank, ModuleTensors::Lora { a, b, magnitude: None }))
}

impl AdapterConfig {
    /// What the product of a LoRA module is multiplied by.
    fn scaling(&self, path: &str) -> Result<f64, Error> {
        let PeftType::Lora(fields) = &self.peft_type else { return Ok(1.0) };
        let ranks = Patterns::compile("rank_pattern", &fields.rank_pattern)?;
        let alphas = Patterns::compile("alpha_pattern", &fields.alpha_pattern)?;
        let r = ranks.value(path).copied().unwrap_or(fields.r) as f64;
        let alpha = alphas.value(path).copied().unwrap_or(self.lora_alpha);
        Ok(if fields.use_rslora { alpha / r.sqrt() } else { alpha / r })
    }
}
