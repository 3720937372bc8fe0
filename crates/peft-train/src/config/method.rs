//! The methods by name, and the settings that only some of them have.

use std::fmt;

use burn::tensor::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// LoSiA-Pro: a moving subnet of each weight, computed on activations.
    LosiaPro,
    /// LoSiA: the same numbers by dense weights and gradients.
    Losia,
    /// LoRA: a product of two small matrices beside each weight.
    Lora,
    /// DoRA: LoRA with magnitudes trained apart from directions.
    Dora,
    /// PiSSA: LoRA that starts from the weights' principal components.
    Pissa,
    /// AdaLoRA: low-rank adapters that share a budget of ranks.
    Adalora,
    /// Full fine-tuning: every parameter, or those of `target_modules`.
    Full,
}

use MethodName::{Adalora, Dora, Full, Lora, Losia, LosiaPro, Pissa};

/// Settings that only some methods have, and those methods.
const OWN_KEYS: [(&[MethodName], &[&str]); 6] = [
    (
        &[LosiaPro, Losia],
        &["rank_factor", "period", "output_dim_factor", "update_type", "sensitivity"],
    ),
    (
        &[Lora, Dora, Pissa],
        &["lora_r", "use_rslora", "rank_pattern", "alpha_pattern", "loraplus_lr_ratio"],
    ),
    (
        &[Adalora],
        &[
            "init_r",
            "target_r",
            "tinit",
            "tfinal",
            "deltaT",
            "orth_reg_weight",
            "orthogonality",
            "importance",
            "beta1",
            "beta2",
        ],
    ),
    (&[Lora, Dora, Pissa, Adalora], &["lora_alpha", "lora_dropout"]),
    (
        &[LosiaPro, Losia, Lora, Dora, Pissa, Adalora],
        &["exclude_modules", "layers_to_transform", "modules_to_save"],
    ),
    (&[LosiaPro, Losia, Lora, Dora, Pissa, Full], &["early_stopping_patience"]),
];

impl MethodName {
    /// Every method.
    pub const ALL: [Self; 7] = [LosiaPro, Losia, Lora, Dora, Pissa, Adalora, Full];

    /// The methods that have the setting `key`; `None` where all have it.
    pub(super) fn with_key(key: &str) -> Option<&'static [Self]> {
        let own = OWN_KEYS.iter().find(|(_, keys)| keys.contains(&key));
        own.map(|(methods, _)| *methods)
    }

    /// The name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            LosiaPro => "losia-pro",
            Losia => "losia",
            Lora => "lora",
            Dora => "dora",
            Pissa => "pissa",
            Adalora => "adalora",
            Full => "full",
        }
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(methods: &[MethodName]) -> String {
    match methods {
        [] => String::new(),
        [only] => only.to_string(),
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(|method| method.as_str()).collect();
            format!("{} and {last}", most.join(", "))
        }
    }
}

/// Type of the frozen weights and of the computation. What trains is kept in f32 beside
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// bfloat16.
    Bf16,
    /// float16.
    F16,
}

impl From<Precision> for DType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::BF16,
            Precision::F16 => Self::F16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_displayed_as_it_is_written() {
        for method in MethodName::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.to_string());
        }
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(listed(&[Full]), "full");
        assert_eq!(listed(&[Lora, Dora]), "lora and dora");
        assert_eq!(listed(&[Lora, Dora, Pissa]), "lora, dora and pissa");
    }
}
