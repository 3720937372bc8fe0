//! From JSON to an [`AdapterConfig`], with PEFT's defaults for what is absent.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;

use super::{AdaLoraFields, AdapterConfig, InitLoraWeights, LoraFields, PeftType};
use crate::store::fields::{Fields, entry, key_error};
use crate::{Error, TargetModules};

const INTEGER: &str = "a non-negative integer";
const NUMBER: &str = "a number";
const FLAG: &str = "true or false";
const TEXT: &str = "a string";
const NAMES: &str = "a list of module names";
const MODULES: &str = "a list of module names, or a regular expression";
const TYPES: &str = "\"LORA\" or \"ADALORA\"";

/// End of the keys of AdaLoRA's `rank_pattern`, after the module path.
pub(super) const MASKED: &str = ".lora_E";

#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    One(usize),
    Many(Vec<usize>),
}

impl AdapterConfig {
    /// Reads and checks the configuration in `json`; errors name `path` as its file.
    pub(in crate::store) fn parse(json: &str, path: &Path) -> Result<Self, Error> {
        let mut fields = Fields::parse(json, path)?;
        let modules = fields.nullable("target_modules", MODULES)?;
        let config = Self {
            peft_type: peft_type(&mut fields, path)?,
            lora_alpha: fields.take("lora_alpha", NUMBER)?.unwrap_or(8.0),
            lora_dropout: fields.take("lora_dropout", NUMBER)?.unwrap_or(0.0),
            target_modules: modules.clone().unwrap_or(TargetModules::Names(vec![])),
            exclude_modules: fields.nullable("exclude_modules", MODULES)?,
            layers_to_transform: layers(&mut fields)?,
            init_lora_weights: fields
                .take("init_lora_weights", "true, false or a string")?
                .unwrap_or(InitLoraWeights::Default(true)),
            modules_to_save: fields.nullable("modules_to_save", NAMES)?,
            task_type: fields.nullable("task_type", TEXT)?,
            base_model_name_or_path: fields.nullable("base_model_name_or_path", TEXT)?,
            inference_mode: fields.take("inference_mode", FLAG)?.unwrap_or(false),
            extra: fields.rest(),
        };
        config.check(path)?;
        match modules {
            Some(_) => Ok(config),
            None => Err(key_error(path, "target_modules", "missing", MODULES)),
        }
    }
}

fn peft_type(fields: &mut Fields, path: &Path) -> Result<PeftType, Error> {
    match fields.require::<String>("peft_type", TYPES)?.as_str() {
        "LORA" => lora(fields).map(PeftType::Lora),
        "ADALORA" => adalora(fields, path).map(PeftType::AdaLora),
        other => Err(key_error(path, "peft_type", format!("{other:?}"), TYPES)),
    }
}

fn lora(fields: &mut Fields) -> Result<LoraFields, Error> {
    Ok(LoraFields {
        r: fields.take("r", INTEGER)?.unwrap_or(8),
        use_rslora: fields.take("use_rslora", FLAG)?.unwrap_or(false),
        use_dora: fields.take("use_dora", FLAG)?.unwrap_or(false),
        rank_pattern: fields.entries("rank_pattern", INTEGER)?.unwrap_or_default(),
        alpha_pattern: fields.entries("alpha_pattern", NUMBER)?.unwrap_or_default(),
    })
}

fn adalora(fields: &mut Fields, path: &Path) -> Result<AdaLoraFields, Error> {
    let masks = fields.entries("rank_pattern", "a list of true and false")?;
    let absent = AdaLoraFields::new(fields.require("total_step", INTEGER)?);
    Ok(AdaLoraFields {
        init_r: fields.take("init_r", INTEGER)?.unwrap_or(absent.init_r),
        target_r: fields.take("target_r", INTEGER)?.unwrap_or(absent.target_r),
        tinit: fields.take("tinit", INTEGER)?.unwrap_or(absent.tinit),
        tfinal: fields.take("tfinal", INTEGER)?.unwrap_or(absent.tfinal),
        delta_t: fields.take("deltaT", INTEGER)?.unwrap_or(absent.delta_t),
        beta1: fields.take("beta1", NUMBER)?.unwrap_or(absent.beta1),
        beta2: fields.take("beta2", NUMBER)?.unwrap_or(absent.beta2),
        orth_reg_weight: fields.take("orth_reg_weight", NUMBER)?.unwrap_or(absent.orth_reg_weight),
        total_step: absent.total_step,
        rank_pattern: masks.map(|masks| by_module(masks, path)).transpose()?,
    })
}

fn by_module(
    masks: IndexMap<String, Vec<bool>>,
    path: &Path,
) -> Result<BTreeMap<String, Vec<bool>>, Error> {
    let named = masks.into_iter().map(|(name, mask)| match name.strip_suffix(MASKED) {
        Some(module) => Ok((module.to_string(), mask)),
        None => {
            let expected = "the path of a module, followed by `.lora_E`";
            Err(key_error(path, &entry("rank_pattern", &name), "present", expected))
        }
    });
    named.collect()
}

fn layers(fields: &mut Fields) -> Result<Option<Vec<usize>>, Error> {
    let layers = fields.nullable("layers_to_transform", "a layer or a list of layers")?;
    Ok(layers.map(|layers| match layers {
        Layers::One(layer) => vec![layer],
        Layers::Many(layers) => layers,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::testing::{adalora, lora};

    fn parse(config: &Value) -> Result<AdapterConfig, Error> {
        AdapterConfig::parse(&config.to_string(), Path::new("adapter_config.json"))
    }

    #[test]
    fn what_is_absent_has_the_defaults_of_peft() {
        let names = TargetModules::Names(vec!["q_proj".into()]);
        let mut config = json!({"peft_type": "LORA", "target_modules": ["q_proj"]});
        let plain = AdapterConfig::new(PeftType::Lora(LoraFields::new(8)), 8.0, names);
        let plain = AdapterConfig { inference_mode: false, ..plain };
        assert_eq!(parse(&config).unwrap(), plain);

        config["peft_type"] = "ADALORA".into();
        config["total_step"] = 10.into();
        let own = AdaLoraFields::new(10);
        assert_eq!(
            parse(&config).unwrap(),
            AdapterConfig { peft_type: PeftType::AdaLora(own), ..plain }
        );
    }

    #[test]
    fn unknown_keys_are_kept() {
        let mut config = lora();
        config["from_the_future"] = json!({"a": [1, null]});
        config["revision"] = Value::Null;
        let extra = parse(&config).unwrap().extra;
        assert_eq!(extra.len(), 2);
        assert_eq!(extra["from_the_future"], config["from_the_future"]);
        assert_eq!(extra["revision"], Value::Null);
    }

    #[test]
    fn one_layer_or_several() {
        let mut config = lora();
        for (layers, expected) in [(json!(3), vec![3]), (json!([1, 2]), vec![1, 2])] {
            config["layers_to_transform"] = layers;
            assert_eq!(parse(&config).unwrap().layers_to_transform, Some(expected));
        }
    }

    #[test]
    fn wrong_types_are_refused_by_key() {
        let number = json!(7.5);
        for (base, keys) in [
            (
                lora(),
                &[
                    "peft_type",
                    "r",
                    "use_rslora",
                    "use_dora",
                    "rank_pattern",
                    "alpha_pattern",
                    "target_modules",
                    "exclude_modules",
                    "layers_to_transform",
                    "init_lora_weights",
                    "modules_to_save",
                    "task_type",
                    "base_model_name_or_path",
                    "inference_mode",
                ][..],
            ),
            (
                adalora(),
                &["init_r", "target_r", "tinit", "tfinal", "deltaT", "total_step", "rank_pattern"],
            ),
        ] {
            for key in keys {
                let mut config = base.clone();
                config[key] = number.clone();
                let message = parse(&config).unwrap_err().to_string();
                let start = format!("adapter_config.json: `{key}` is 7.5, expected ");
                assert!(message.starts_with(&start), "{message}");
            }
        }
    }

    #[test]
    fn text_is_no_number_and_null_no_value() {
        for key in ["lora_alpha", "lora_dropout", "r"] {
            for wrong in [json!("8"), Value::Null] {
                let mut config = lora();
                config[key] = wrong.clone();
                let message = parse(&config).unwrap_err().to_string();
                assert!(message.contains(&format!("`{key}` is {wrong}, expected ")), "{message}");
            }
        }
        for key in ["beta1", "beta2", "orth_reg_weight"] {
            let mut config = adalora();
            config[key] = json!("8");
            let message = parse(&config).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}` is \"8\", expected a number")), "{message}");
        }
    }

    #[test]
    fn an_adapter_of_parameters_alone_is_refused_as_such() {
        let mut config = lora();
        config["target_modules"] = Value::Null;
        let message = parse(&config).unwrap_err().to_string();
        assert!(message.contains("`target_modules` is missing, expected "), "{message}");
        config["target_parameters"] = json!(["experts.gate_up_proj"]);
        let error = parse(&config).unwrap_err();
        assert!(matches!(error, Error::Unsupported { key: "target_parameters", .. }), "{error}");
    }

    #[test]
    fn what_must_be_there_is_asked_for() {
        for (base, key) in
            [(lora(), "peft_type"), (lora(), "target_modules"), (adalora(), "total_step")]
        {
            let mut config = base;
            config.as_object_mut().unwrap().remove(key);
            let message = parse(&config).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}` is missing, expected ")), "{message}");
        }
        let mut config = lora();
        config["peft_type"] = "LOHA".into();
        let error = parse(&config).unwrap_err();
        let message =
            "adapter_config.json: `peft_type` is \"LOHA\", expected \"LORA\" or \"ADALORA\"";
        assert_eq!(error.to_string(), message);
        assert!(error.hint().unwrap().contains("merge_and_unload"));
    }

    #[test]
    fn adalora_masks_are_keyed_by_module() {
        let mut config = adalora();
        config["rank_pattern"] = json!({"layers.0.q_proj.lora_E": [true, false, true]});
        let PeftType::AdaLora(own) = parse(&config).unwrap().peft_type else { panic!() };
        assert_eq!(own.rank_pattern.unwrap()["layers.0.q_proj"], [true, false, true]);
        config["rank_pattern"] = json!({"layers.0.q_proj": [true, false, true]});
        let message = parse(&config).unwrap_err().to_string();
        assert!(message.contains("`rank_pattern[\"layers.0.q_proj\"]` is present"), "{message}");
    }
}
