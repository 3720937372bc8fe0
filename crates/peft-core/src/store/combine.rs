//! A weighted sum of LoRA adapters as one adapter.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;

use super::{AdapterConfig, AdapterFiles, LoraFields, ModuleTensors, Patterns, PeftType};
use crate::Error;
use crate::error::check;

impl AdapterFiles {
    /// `Σ wᵢ·ΔWᵢ` of LoRA adapters for the same base: factors are concatenated, so that the sum is
    /// exact and ranks add up (of PEFT's `add_weighted_adapter`, `combination_type="cat"`). All are
    /// scaled by 1. What the configuration says besides is that of the first adapter.
    ///
    /// # Errors
    /// [`Error::Setting`] for no adapter, for DoRA, AdaLoRA ([`to_lora`](Self::to_lora) makes it
    /// LoRA) and adapters with parameters stored whole, and for weights that are not finite.
    pub fn weighted(adapters: &[(&AdapterFiles, f64)]) -> Result<Self, Error> {
        let Some((first, _)) = adapters.first() else {
            let found = "none".into();
            return Err(Error::Setting { key: "adapters", found, expected: "at least one" });
        };
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
        let sums = paths.into_iter().map(|path| Ok((path.clone(), concatenated(path, adapters)?)));
        let modules: BTreeMap<_, _> = sums.collect::<Result<_, Error>>()?;
        let ranks: BTreeMap<_, _> =
            modules.iter().map(|(path, t)| (path.as_str(), t.rank())).collect();
        let alpha = ranks.values().copied().max().unwrap_or(1) as f64;
        let fields = LoraFields::uniform(&ranks, alpha);
        let config = first.config.as_lora(fields, modules.keys().cloned().collect());
        let config = AdapterConfig { lora_alpha: alpha, ..config };
        Ok(Self { config, modules, other: BTreeMap::new() })
    }
}

/// A and B of one module in all adapters that have it.
fn concatenated(path: &str, adapters: &[(&AdapterFiles, f64)]) -> Result<ModuleTensors, Error> {
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
    Ok(ModuleTensors::Lora { a, b, magnitude: None })
}

impl AdapterConfig {
    /// What the product of a LoRA module is multiplied by.
    pub(super) fn scaling(&self, path: &str) -> Result<f64, Error> {
        let PeftType::Lora(fields) = &self.peft_type else { return Ok(1.0) };
        let ranks = Patterns::compile("rank_pattern", &fields.rank_pattern)?;
        let alphas = Patterns::compile("alpha_pattern", &fields.alpha_pattern)?;
        let r = ranks.value(path).copied().unwrap_or(fields.r) as f64;
        let alpha = alphas.value(path).copied().unwrap_or(self.lora_alpha);
        Ok(if fields.use_rslora { alpha / r.sqrt() } else { alpha / r })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{adapter, tensor};

    /// Two adapters of rank 2 that have `mlp.fc` in common.
    fn adapters() -> [AdapterFiles; 2] {
        let (mut one, mut other) = (adapter(), adapter());
        let of_rank =
            |r| ModuleTensors::Lora { a: tensor(&[r, 3]), b: tensor(&[5, r]), magnitude: None };
        one.modules.insert("mlp.fc".into(), of_rank(2));
        other.modules = [("fc".to_string(), of_rank(2)), ("mlp.fc".into(), of_rank(2))].into();
        one.config.task_type = Some("CAUSAL_LM".into());
        one.config.base_model_name_or_path = Some("a/base".into());
        one.config.extra.insert("a_key_of_tomorrow".into(), 7.into());
        [one, other]
    }

    #[test]
    fn the_patterns_of_a_sum_are_for_one_module_each() {
        let [one, other] = adapters();
        let sum = AdapterFiles::weighted(&[(&one, 0.5), (&other, 2.0)]).unwrap();
        let ranks: Vec<_> = sum.modules.iter().map(|(path, t)| (path.as_str(), t.rank())).collect();
        assert_eq!(ranks, [("fc", 2), ("layers.0.q_proj", 2), ("mlp.fc", 4)]);
        sum.check().expect("each module has the rank its pattern says");
        for path in sum.modules.keys() {
            assert_eq!(sum.config.scaling(path).unwrap(), 1.0, "{path}");
        }
    }

    #[test]
    fn a_sum_says_besides_what_its_first_adapter_says() {
        let [one, other] = adapters();
        let config = AdapterFiles::weighted(&[(&one, 1.0), (&other, 1.0)]).unwrap().config;
        assert_eq!(config.task_type.as_deref(), Some("CAUSAL_LM"));
        assert_eq!(config.base_model_name_or_path.as_deref(), Some("a/base"));
        assert_eq!(config.extra["a_key_of_tomorrow"], 7);
        let error = AdapterFiles::weighted(&[]).unwrap_err().to_string();
        assert_eq!(error, "`adapters` is none, expected at least one");
    }
}
