//! What PEFT's LoRA can do beyond this crate: refused where it would change what an adapter
//! computes.

use std::path::Path;

use serde_json::Value;

use super::{AdapterConfig, InitLoraWeights, PeftType};
use crate::Error;
use crate::store::fields::{key_error, shorten};

const MERGE: &str = "merge it into its base model with PEFT (`merge_and_unload`), and load that";
const CONVERT: &str = "it belongs to a changed base model: save it in PEFT with \
    `path_initial_model_for_weight_conversion`, which makes it a plain LoRA adapter";
const QUANTIZED: &str = "it belongs to the quantised base model of its training: save that model, \
    and set `init_lora_weights` to true";

/// Keys that change what an adapter computes, unless they are null, false, "none" or empty.
const KEYS: [(&str, &str); 14] = [
    ("alora_invocation_tokens", "adapters that begin at a token are not computed: train LoRA"),
    ("arrow_config", "load the adapters it routes between one by one"),
    ("bias", MERGE),
    ("fan_in_fan_out", "weights of GPT-2's Conv1D are not read; for linear layers set it to false"),
    ("kasa_config", MERGE),
    ("layer_replication", "replicate the layers in the base model, and train LoRA on that"),
    ("lora_bias", MERGE),
    ("megatron_config", MERGE),
    ("monteclora_config", MERGE),
    ("target_parameters", MERGE),
    ("trainable_token_indices", MERGE),
    ("use_bdlora", MERGE),
    ("use_qalora", MERGE),
    ("velora_config", MERGE),
];

/// Refuses what is switched on; errors name `path` as their file.
pub(super) fn check(config: &AdapterConfig, path: &Path) -> Result<(), Error> {
    let adalora = matches!(config.peft_type, PeftType::AdaLora(_));
    let dora = adalora.then_some(("use_dora", "AdaLoRA has no magnitudes: set it to false"));
    for (key, hint) in KEYS.into_iter().chain(dora) {
        if let Some(value) = config.extra.get(key).filter(|value| !is_off(value)) {
            return Err(unsupported(path, key, value, hint));
        }
    }
    match &config.init_lora_weights {
        InitLoraWeights::Default(_) => Ok(()),
        InitLoraWeights::Named(name) => check_init(name, path),
    }
}

fn check_init(name: &str, path: &Path) -> Result<(), Error> {
    const KEY: &str = "init_lora_weights";
    // These start by subtracting the adapter from the base model's weights.
    const CHANGES_BASE: [&str; 4] = ["pissa", "olora", "corda", "lora_ga"];
    match name {
        "gaussian" | "eva" | "orthogonal" | "mica" => Ok(()),
        "loftq" => Err(unsupported(path, KEY, &name.into(), QUANTIZED)),
        _ if CHANGES_BASE.iter().any(|start| name.starts_with(start)) => {
            Err(unsupported(path, KEY, &name.into(), CONVERT))
        }
        _ => Err(key_error(path, KEY, Value::from(name), "an initialisation PEFT has")),
    }
}

fn unsupported(path: &Path, key: &'static str, found: &Value, hint: &'static str) -> Error {
    Error::Unsupported { path: path.into(), key, found: shorten(found.to_string()), hint }
}

/// Whether a value leaves the feature it stands for off.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text == "none",
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::testing::{adalora, lora};

    fn parse(mut base: Value, key: &str, value: Value) -> Result<AdapterConfig, Error> {
        base[key] = value;
        AdapterConfig::parse(&base.to_string(), Path::new("adapter_config.json"))
    }

    #[test]
    fn each_key_is_refused_when_it_is_on_and_kept_when_it_is_off() {
        for (key, hint) in KEYS {
            for off in [json!(null), json!(false), json!("none"), json!([]), json!({})] {
                let config = parse(lora(), key, off.clone()).unwrap();
                assert_eq!(config.extra[key], off, "{key}");
            }
            for on in [json!(true), json!("all"), json!([3]), json!({"a": null}), json!(0)] {
                let message =
                    format!("adapter_config.json: `{key}` is {on}, which is not supported");
                let error = parse(lora(), key, on).unwrap_err();
                assert_eq!(error.to_string(), message);
                assert_eq!(error.hint().unwrap(), hint);
            }
        }
    }

    #[test]
    fn tied_weights_are_for_the_base_model_to_judge() {
        let config = parse(lora(), "ensure_weight_tying", json!(true)).unwrap();
        assert_eq!(config.extra["ensure_weight_tying"], true);
    }

    #[test]
    fn adalora_has_no_dora() {
        let error = parse(adalora(), "use_dora", json!(true)).unwrap_err();
        assert!(matches!(error, Error::Unsupported { key: "use_dora", .. }), "{error}");
        assert!(parse(lora(), "use_dora", json!(true)).is_ok());
    }

    #[test]
    fn initialisations_that_change_the_base_model_are_refused() {
        for name in ["pissa", "pissa_niter_16", "olora", "corda", "lora_ga", "loftq"] {
            let error = parse(lora(), "init_lora_weights", json!(name)).unwrap_err();
            let message = format!(
                "adapter_config.json: `init_lora_weights` is \"{name}\", which is not supported"
            );
            assert_eq!(error.to_string(), message);
            assert!(error.hint().unwrap().contains("base model"));
        }
        for init in [json!(true), json!(false), json!("gaussian"), json!("eva")] {
            assert!(parse(lora(), "init_lora_weights", init).is_ok());
        }
        let error = parse(lora(), "init_lora_weights", json!("zeros")).unwrap_err();
        assert!(matches!(error, Error::Key { .. }), "{error}");
    }
}
