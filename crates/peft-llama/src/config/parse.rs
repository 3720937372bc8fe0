//! From JSON keys to a checked [`LlamaConfig`].

use burn::tensor::DType;
use serde::Deserialize;

use super::{LlamaConfig, Rope};
use crate::{Error, json::Object};

/// The configuration in `json`.
pub(super) fn config(json: &Object) -> Result<LlamaConfig, Error> {
    one_of(json, "model_type", None, "llama")?;
    one_of(json, "hidden_act", Some("silu"), "silu")?;
    let hidden_size = size(json, "hidden_size", None)?;
    let num_attention_heads = size(json, "num_attention_heads", None)?;
    Ok(LlamaConfig {
        vocab_size: size(json, "vocab_size", None)?,
        hidden_size,
        intermediate_size: size(json, "intermediate_size", None)?,
        num_hidden_layers: size(json, "num_hidden_layers", None)?,
        num_attention_heads,
        num_key_value_heads: num_key_value_heads(json, num_attention_heads)?,
        head_dim: head_dim(json, hidden_size, num_attention_heads)?,
        max_position_embeddings: size(json, "max_position_embeddings", Some(2048))?,
        rms_norm_eps: positive(json, "rms_norm_eps", Some(1e-6))?,
        initializer_range: positive(json, "initializer_range", Some(0.02))?,
        rope: Rope::parse(json)?,
        tie_word_embeddings: flag(json, "tie_word_embeddings")?,
        attention_bias: flag(json, "attention_bias")?,
        mlp_bias: flag(json, "mlp_bias")?,
        dtype: dtype(json)?,
        bos_token_id: json.get("bos_token_id", "a token id")?,
        eos_token_id: token_ids(json, "eos_token_id")?,
    })
}

/// A positive number, or `default` where the key is missing.
pub(super) fn positive(json: &Object, key: &str, default: Option<f64>) -> Result<f64, Error> {
    const EXPECTED: &str = "a number above 0";
    match json.get(key, EXPECTED)?.or(default) {
        Some(value) if value > 0.0 => Ok(value),
        _ => Err(json.refuse(key, EXPECTED)),
    }
}

/// A positive integer, or `default` where the key is missing.
pub(super) fn size(json: &Object, key: &str, default: Option<usize>) -> Result<usize, Error> {
    const EXPECTED: &str = "an integer above 0";
    match json.get(key, EXPECTED)?.or(default) {
        Some(value) if value > 0 => Ok(value),
        _ => Err(json.refuse(key, EXPECTED)),
    }
}

/// One token id or a list of them; empty where the key is missing.
pub(crate) fn token_ids(json: &Object, key: &str) -> Result<Vec<u32>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TokenIds {
        One(u32),
        Many(Vec<u32>),
    }
    Ok(match json.get(key, "a token id or a list of token ids")? {
        None => Vec::new(),
        Some(TokenIds::One(id)) => vec![id],
        Some(TokenIds::Many(ids)) => ids,
    })
}

fn flag(json: &Object, key: &str) -> Result<bool, Error> {
    Ok(json.get(key, "true or false")?.unwrap_or(false))
}

fn one_of(json: &Object, key: &str, default: Option<&str>, accepted: &str) -> Result<(), Error> {
    let expected = format!("{accepted:?}");
    let value: Option<String> = json.get(key, &expected)?;
    match value.as_deref().or(default) == Some(accepted) {
        true => Ok(()),
        false => Err(json.refuse(key, expected)),
    }
}

fn num_key_value_heads(json: &Object, num_attention_heads: usize) -> Result<usize, Error> {
    let heads = size(json, "num_key_value_heads", Some(num_attention_heads))?;
    match num_attention_heads.is_multiple_of(heads) {
        true => Ok(heads),
        false => Err(json.refuse(
            "num_key_value_heads",
            format!("a divisor of `num_attention_heads` ({num_attention_heads})"),
        )),
    }
}

fn head_dim(json: &Object, hidden_size: usize, heads: usize) -> Result<usize, Error> {
    let given = json.get::<usize>("head_dim", "an even integer above 0")?;
    if given.is_none() && !hidden_size.is_multiple_of(heads) {
        let expected =
            format!("a multiple of `num_attention_heads` ({heads}), or `head_dim` given");
        return Err(json.refuse("hidden_size", expected));
    }
    match given.unwrap_or(hidden_size / heads) {
        dim if dim > 0 && dim.is_multiple_of(2) => Ok(dim),
        dim => Err(json.refuse("head_dim", format!("an even integer above 0 (it would be {dim})"))),
    }
}

fn dtype(json: &Object) -> Result<Option<DType>, Error> {
    const EXPECTED: &str = "\"float32\", \"bfloat16\" or \"float16\"";
    for key in ["dtype", "torch_dtype"] {
        if let Some(name) = json.get::<String>(key, EXPECTED)? {
            return match name.trim_start_matches("torch.") {
                "float32" => Ok(Some(DType::F32)),
                "bfloat16" => Ok(Some(DType::BF16)),
                "float16" => Ok(Some(DType::F16)),
                _ => Err(json.refuse(key, EXPECTED)),
            };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{tiny, tiny_json, tiny_with};
    use serde_json::{Value, json};

    #[test]
    fn defaults() {
        let config = tiny();
        assert_eq!((config.head_dim, config.rms_norm_eps), (4, 1e-6));
        assert!(!config.tie_word_embeddings && !config.attention_bias && !config.mlp_bias);
        assert_eq!((config.dtype, config.bos_token_id), (None, None));
        assert!(config.eos_token_id.is_empty());
    }

    #[test]
    fn head_dim_is_independent_of_hidden_size() {
        assert_eq!(tiny_with(json!({"head_dim": 6})).head_dim, 6);
    }

    #[test]
    fn both_dtype_keys_and_both_forms_of_eos() {
        assert_eq!(tiny_with(json!({"torch_dtype": "float16"})).dtype, Some(DType::F16));
        assert_eq!(tiny_with(json!({"dtype": "bfloat16"})).dtype, Some(DType::BF16));
        assert_eq!(tiny_with(json!({"eos_token_id": 2})).eos_token_id, [2]);
        assert_eq!(tiny_with(json!({"eos_token_id": [2, 3]})).eos_token_id, [2, 3]);
    }

    #[test]
    fn unknown_keys_and_tensor_parallel_pretraining_are_ignored() {
        assert_eq!(tiny_with(json!({"pretraining_tp": 4, "use_cache": true})), tiny());
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let cases = [
            ("model_type", json!("gemma")),
            ("model_type", Value::Null),
            ("hidden_act", json!("gelu")),
            ("vocab_size", json!(0)),
            ("vocab_size", json!(-1)),
            ("hidden_size", Value::Null),
            ("hidden_size", json!(18)),
            ("intermediate_size", json!("wide")),
            ("num_hidden_layers", json!(0)),
            ("num_attention_heads", json!(0)),
            ("num_key_value_heads", json!(3)),
            ("head_dim", json!(5)),
            ("head_dim", json!(0)),
            ("rms_norm_eps", json!(0.0)),
            ("initializer_range", json!(-0.1)),
            ("tie_word_embeddings", json!("yes")),
            ("torch_dtype", json!("int8")),
            ("bos_token_id", json!("<s>")),
            ("eos_token_id", json!(["</s>"])),
            ("rope_theta", json!(0)),
        ];
        for (key, value) in cases {
            let mut config = tiny_json();
            config[key] = value.clone();
            let error = LlamaConfig::parse(&config.to_string(), "config.json").unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with(&format!("config.json: `{key}` is ")), "{message}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn an_odd_head_dim_that_was_not_given_is_refused() {
        let mut config = tiny_json();
        config["hidden_size"] = json!(12);
        let error = LlamaConfig::parse(&config.to_string(), "config.json").unwrap_err().to_string();
        assert!(error.contains("`head_dim`") && error.contains("it would be 3"), "{error}");
    }
}
