//! From an [`AdapterConfig`] to JSON.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::read::MASKED;
use super::{AdaLoraFields, AdapterConfig, LoraFields, PeftType};
use crate::Error;
use crate::store::fields::Field;
use crate::store::files::unwritable;

impl AdapterConfig {
    /// The text of the file that will be at `path`: as PEFT, two spaces of indentation and sorted
    /// keys. Only patterns keep their order, on which their meaning depends.
    pub(in crate::store) fn to_json(&self, path: &Path) -> Result<String, Error> {
        self.check(path)?;
        let extra = self.extra.iter().map(|(key, value)| (key.as_str(), value.clone()));
        let mut fields: BTreeMap<&str, Field> = others(extra).collect();
        fields.extend(others([
            ("lora_alpha", number(self.lora_alpha)),
            ("lora_dropout", json!(self.lora_dropout)),
            ("target_modules", json!(self.target_modules)),
            ("exclude_modules", json!(self.exclude_modules)),
            ("layers_to_transform", json!(self.layers_to_transform)),
            ("init_lora_weights", json!(self.init_lora_weights)),
            ("modules_to_save", json!(self.modules_to_save)),
            ("task_type", json!(self.task_type)),
            ("base_model_name_or_path", json!(self.base_model_name_or_path)),
            ("inference_mode", json!(self.inference_mode)),
        ]));
        match &self.peft_type {
            PeftType::Lora(own) => fields.extend(lora(own)),
            PeftType::AdaLora(own) => fields.extend(adalora(own)),
        }
        serde_json::to_string_pretty(&fields).map_err(unwritable(path))
    }
}

fn lora<'a>(own: &LoraFields) -> impl Iterator<Item = (&'a str, Field)> {
    let patterns = [
        ("rank_pattern", in_order(&own.rank_pattern, |r| json!(r))),
        ("alpha_pattern", in_order(&own.alpha_pattern, |alpha| number(*alpha))),
    ];
    let fields = others([
        ("peft_type", json!("LORA")),
        ("r", json!(own.r)),
        ("use_rslora", json!(own.use_rslora)),
        ("use_dora", json!(own.use_dora)),
    ]);
    fields.chain(patterns)
}

fn adalora<'a>(own: &AdaLoraFields) -> impl Iterator<Item = (&'a str, Field)> {
    let masks = own.rank_pattern.as_ref().map(|masks| -> BTreeMap<_, _> {
        masks.iter().map(|(module, mask)| (format!("{module}{MASKED}"), mask)).collect()
    });
    others([
        ("peft_type", json!("ADALORA")),
        ("init_r", json!(own.init_r)),
        ("target_r", json!(own.target_r)),
        ("tinit", json!(own.tinit)),
        ("tfinal", json!(own.tfinal)),
        ("deltaT", json!(own.delta_t)),
        ("beta1", json!(own.beta1)),
        ("beta2", json!(own.beta2)),
        ("orth_reg_weight", json!(own.orth_reg_weight)),
        ("total_step", json!(own.total_step)),
        ("rank_pattern", json!(masks)),
    ])
}

fn others<'a>(
    fields: impl IntoIterator<Item = (&'a str, Value)>,
) -> impl Iterator<Item = (&'a str, Field)> {
    fields.into_iter().map(|(key, value)| (key, Field::Other(value)))
}

fn in_order<T>(patterns: &IndexMap<String, T>, json: impl Fn(&T) -> Value) -> Field {
    Field::Object(patterns.iter().map(|(pattern, value)| (pattern.clone(), json(value))).collect())
}

/// PEFT declares alphas as integers and writes what it was given, so whole numbers are written
/// without a fraction.
fn number(value: f64) -> Value {
    const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    match value.fract() == 0.0 && value.abs() <= EXACT {
        true => json!(value as i64),
        false => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TargetModules;

    fn config(own: LoraFields, lora_alpha: f64) -> AdapterConfig {
        let names = TargetModules::Names(vec!["q_proj".into()]);
        AdapterConfig::new(PeftType::Lora(own), lora_alpha, names)
    }

    fn text(config: &AdapterConfig) -> String {
        config.to_json(Path::new("adapter_config.json")).unwrap()
    }

    #[test]
    fn patterns_keep_their_order_and_everything_else_is_sorted() {
        let mut own = LoraFields::new(2);
        own.rank_pattern = [("v_proj".to_string(), 3), ("k_proj".to_string(), 4)].into();
        own.alpha_pattern = [("z".to_string(), 1.0), ("a".to_string(), 0.5)].into();
        let mut config = config(own, 4.0);
        config.extra.insert("bias".into(), json!("none"));
        let text = text(&config);
        let position = |key: &str| text.find(&format!("{key:?}: ")).unwrap();
        assert!(position("v_proj") < position("k_proj"));
        assert!(position("z") < position("a"));
        let keys: Vec<_> = text.lines().filter(|line| line.starts_with("  \"")).collect();
        assert!(keys.len() == 17 && keys.is_sorted(), "{keys:?}");
        let read = AdapterConfig::parse(&text, Path::new("adapter_config.json")).unwrap();
        assert_eq!(read, config);
        let PeftType::Lora(own) = read.peft_type else { panic!() };
        assert_eq!(own.rank_pattern.keys().collect::<Vec<_>>(), ["v_proj", "k_proj"]);
        assert_eq!(own.alpha_pattern.keys().collect::<Vec<_>>(), ["z", "a"]);
    }

    #[test]
    fn whole_alphas_are_integers() {
        for (alpha, expected) in [(16.0, json!(16)), (0.5, json!(0.5)), (1e300, json!(1e300))] {
            let text = text(&config(LoraFields::new(2), alpha));
            let written: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(written["lora_alpha"], expected);
        }
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        let error = config(LoraFields::new(0), 1.0).to_json(Path::new("file")).unwrap_err();
        assert_eq!(error.to_string(), "file: `r` is 0, expected an integer of at least 1");
        let error = config(LoraFields::new(1), f64::NAN).to_json(Path::new("file")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "file: `lora_alpha` is NaN, expected a finite number above 0"
        );
    }
}
