//! What makes an [`AdapterConfig`] acceptable: values in their ranges.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use super::{AdaLoraFields, AdapterConfig, LoraFields, PeftType, unsupported};
use crate::store::fields::{entry, key_error};
use crate::store::patterns::Patterns;
use crate::{Error, TargetModules};

const ABOVE_0: &str = "a finite number above 0";
const AT_LEAST_1: &str = "an integer of at least 1";

impl AdapterConfig {
    /// Checks every value; errors name `path` as their file.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        unsupported::check(self, path)?;
        let at = At(path);
        at.check("lora_alpha", self.lora_alpha, is_positive(self.lora_alpha), ABOVE_0)?;
        let dropout = self.lora_dropout;
        at.check("lora_dropout", dropout, (0.0..1.0).contains(&dropout), "a number in [0, 1)")?;
        let list = matches!(self.target_modules, TargetModules::Names(_));
        let ok = list || self.layers_to_transform.is_none();
        at.check("layers_to_transform", "given", ok, "null where `target_modules` is no list")?;
        match &self.peft_type {
            PeftType::Lora(own) => at.check_lora(own),
            PeftType::AdaLora(own) => at.check_adalora(own),
        }
    }
}

/// The file that errors name.
struct At<'a>(&'a Path);

impl At<'_> {
    fn check(
        &self,
        key: &str,
        found: impl ToString,
        ok: bool,
        expected: &str,
    ) -> Result<(), Error> {
        match ok {
            true => Ok(()),
            false => Err(key_error(self.0, key, found, expected)),
        }
    }

    fn check_lora(&self, own: &LoraFields) -> Result<(), Error> {
        self.check("r", own.r, own.r >= 1, AT_LEAST_1)?;
        for (pattern, r) in &own.rank_pattern {
            self.check(&entry("rank_pattern", pattern), r, *r >= 1, AT_LEAST_1)?;
        }
        for (pattern, alpha) in &own.alpha_pattern {
            self.check(&entry("alpha_pattern", pattern), alpha, is_positive(*alpha), ABOVE_0)?;
        }
        self.check_patterns("rank_pattern", &own.rank_pattern)?;
        self.check_patterns("alpha_pattern", &own.alpha_pattern)
    }

    fn check_patterns<T>(
        &self,
        key: &'static str,
        patterns: &IndexMap<String, T>,
    ) -> Result<(), Error> {
        match Patterns::compile(key, patterns) {
            Err(Error::Pattern { pattern, reason, .. }) => {
                let expected = format!("a regular expression ({reason})");
                Err(key_error(self.0, key, Value::from(pattern), &expected))
            }
            other => other.map(drop),
        }
    }

    fn check_adalora(&self, own: &AdaLoraFields) -> Result<(), Error> {
        for (key, value) in
            [("init_r", own.init_r), ("target_r", own.target_r), ("deltaT", own.delta_t)]
        {
            self.check(key, value, value >= 1, AT_LEAST_1)?;
        }
        for (key, beta) in [("beta1", own.beta1), ("beta2", own.beta2)] {
            self.check(key, beta, beta > 0.0 && beta < 1.0, "a number above 0 and below 1")?;
        }
        let weight = own.orth_reg_weight;
        let ok = weight >= 0.0 && weight.is_finite();
        self.check("orth_reg_weight", weight, ok, "a finite number of at least 0")?;
        let kept = own.tinit.saturating_add(own.tfinal);
        let expected = "more than `tinit` and `tfinal` together";
        self.check("total_step", own.total_step, own.total_step > kept, expected)?;
        self.check_masks(own)
    }

    fn check_masks(&self, own: &AdaLoraFields) -> Result<(), Error> {
        for (module, mask) in own.rank_pattern.iter().flatten() {
            let found = format!("of length {}", mask.len());
            let expected = format!("of length {} (`init_r`)", own.init_r);
            let ok = mask.len() == own.init_r;
            self.check(&entry("rank_pattern", module), found, ok, &expected)?;
        }
        Ok(())
    }
}

fn is_positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::testing::{adalora, lora};

    /// What is said about `base` with the keys of `edits` replaced.
    fn error(base: &Value, edits: Value) -> String {
        let mut config = base.as_object().unwrap().clone();
        config.extend(edits.as_object().unwrap().clone());
        let text = Value::from(config).to_string();
        let error = AdapterConfig::parse(&text, Path::new("dir/adapter_config.json")).unwrap_err();
        assert!(error.hint().is_some());
        let message = error.to_string();
        message.strip_prefix("dir/adapter_config.json: ").expect("the file is named").to_string()
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        let cases = [
            (json!({"r": 0}), "`r` is 0, expected an integer of at least 1"),
            (json!({"lora_alpha": 0}), "`lora_alpha` is 0, expected a finite number above 0"),
            (json!({"lora_alpha": -1.5}), "`lora_alpha` is -1.5, expected a finite"),
            (json!({"lora_dropout": 1.0}), "`lora_dropout` is 1, expected a number in [0, 1)"),
            (json!({"lora_dropout": -0.1}), "`lora_dropout` is -0.1, expected"),
            (json!({"rank_pattern": {"k_proj": 0}}), "`rank_pattern[\"k_proj\"]` is 0, expected"),
            (json!({"alpha_pattern": {"v": 0.0}}), "`alpha_pattern[\"v\"]` is 0, expected"),
            (json!({"rank_pattern": {"q(": 1}}), "`rank_pattern` is \"q(\", expected a regular"),
            (json!({"alpha_pattern": {"*": 1}}), "`alpha_pattern` is \"*\", expected a regular"),
            (
                json!({"target_modules": "all-linear", "layers_to_transform": [1]}),
                "`layers_to_transform` is given, expected null where `target_modules` is no list",
            ),
        ];
        for (edits, expected) in cases {
            let message = error(&lora(), edits);
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn adalora_values_out_of_range_are_refused_by_key() {
        let mask = |length: usize| json!({"rank_pattern": {"q_proj.lora_E": vec![true; length]}});
        let cases = [
            (json!({"init_r": 0}), "`init_r` is 0, expected an integer of at least 1"),
            (json!({"target_r": 0}), "`target_r` is 0, expected an integer of at least 1"),
            (json!({"deltaT": 0}), "`deltaT` is 0, expected an integer of at least 1"),
            (json!({"beta1": 0.0}), "`beta1` is 0, expected a number above 0 and below 1"),
            (json!({"beta2": 1}), "`beta2` is 1, expected a number above 0 and below 1"),
            (json!({"orth_reg_weight": -1}), "`orth_reg_weight` is -1, expected a finite"),
            (json!({"total_step": 15}), "`total_step` is 15, expected more than `tinit` and `tf"),
            (json!({"tinit": u64::MAX}), "`total_step` is 100, expected more than `tinit`"),
            (mask(4), "`rank_pattern[\"q_proj\"]` is of length 4, expected of length 3 (`init_r`)"),
        ];
        for (edits, expected) in cases {
            let message = error(&adalora(), edits);
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
