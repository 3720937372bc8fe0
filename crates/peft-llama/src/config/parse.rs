//! From JSON keys to a checked [`DecoderConfig`].

use super::keys::{dtype, flag, layers, positive, size, token_ids};
use super::layer_types::sliding_window;
use super::{DecoderConfig, LayerType, ModelType, Rope};
use crate::{Error, json::Object};

/// The configuration in `json`.
pub(super) fn config(json: &Object) -> Result<DecoderConfig, Error> {
    let model_type = ModelType::parse(json)?;
    let gemma2 = (model_type == ModelType::Gemma2).then_some(json);
    let hidden_size = size(json, "hidden_size", None)?;
    let num_hidden_layers = layers(json)?;
    let num_attention_heads = size(json, "num_attention_heads", None)?;
    let head_dim = head_dim(json, model_type, hidden_size, num_attention_heads)?;
    let layer_types = match gemma2 {
        Some(json) => LayerType::parse(json, num_hidden_layers)?,
        None => vec![LayerType::FullAttention; num_hidden_layers],
    };
    let sliding_window = gemma2.map(|json| sliding_window(json, &layer_types)).transpose()?;
    Ok(DecoderConfig {
        model_type,
        vocab_size: size(json, "vocab_size", None)?,
        hidden_size,
        intermediate_size: size(json, "intermediate_size", None)?,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads: num_key_value_heads(json, model_type, num_attention_heads)?,
        head_dim,
        query_pre_attn_scalar: match gemma2 {
            Some(json) => size(json, "query_pre_attn_scalar", None)?,
            None => head_dim,
        },
        attn_logit_softcapping: soft_cap(gemma2, "attn_logit_softcapping")?,
        final_logit_softcapping: soft_cap(gemma2, "final_logit_softcapping")?,
        layer_types,
        sliding_window,
        max_position_embeddings: max_position_embeddings(json, model_type)?,
        rms_norm_eps: positive(json, "rms_norm_eps", Some(1e-6))?,
        initializer_range: positive(json, "initializer_range", Some(0.02))?,
        rope: Rope::parse(json)?,
        tie_word_embeddings: flag(json, "tie_word_embeddings", model_type.is_gemma())?,
        attention_bias: flag(json, "attention_bias", false)?,
        mlp_bias: !model_type.is_gemma() && flag(json, "mlp_bias", false)?,
        dtype: dtype(json)?,
        bos_token_id: json.get("bos_token_id", "a token id")?,
        eos_token_id: token_ids(json, "eos_token_id")?,
    })
}

fn num_key_value_heads(
    json: &Object,
    model_type: ModelType,
    num_attention_heads: usize,
) -> Result<usize, Error> {
    let default = (!model_type.is_gemma()).then_some(num_attention_heads);
    let heads = size(json, "num_key_value_heads", default)?;
    match num_attention_heads.is_multiple_of(heads) {
        true => Ok(heads),
        false => Err(json.refuse(
            "num_key_value_heads",
            format!("a divisor of `num_attention_heads` ({num_attention_heads})"),
        )),
    }
}

fn head_dim(
    json: &Object,
    model_type: ModelType,
    hidden_size: usize,
    heads: usize,
) -> Result<usize, Error> {
    const EXPECTED: &str = "an even integer from 2 to 65536";
    let dim = match json.get::<usize>("head_dim", EXPECTED)? {
        Some(dim) => dim,
        None if model_type.is_gemma() => return Err(json.refuse("head_dim", EXPECTED)),
        None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => {
            let expected =
                format!("a multiple of `num_attention_heads` ({heads}), or `head_dim` given");
            return Err(json.refuse("hidden_size", expected));
        }
    };
    match (2..=1 << 16).contains(&dim) && dim.is_multiple_of(2) {
        true => Ok(dim),
        false => Err(json.refuse("head_dim", format!("{EXPECTED} (it would be {dim})"))),
    }
}

fn max_position_embeddings(json: &Object, model_type: ModelType) -> Result<usize, Error> {
    let default = if model_type.is_gemma() { 8192 } else { 2048 };
    size(json, "max_position_embeddings", Some(default))
}

/// A soft cap of Gemma 2; other families have none. A missing key is not taken for null, since
/// other readers put a cap there.
fn soft_cap(gemma2: Option<&Object>, key: &str) -> Result<Option<f64>, Error> {
    const EXPECTED: &str = "a number above 0, or null for no cap";
    let Some(json) = gemma2 else { return Ok(None) };
    match json.get::<f64>(key, EXPECTED)? {
        Some(cap) if cap <= 0.0 => Err(json.refuse(key, EXPECTED)),
        None if !json.has(key) => Err(json.refuse(key, EXPECTED)),
        cap => Ok(cap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{
        gemma2_json, gemma2_with, tiny, tiny_gemma, tiny_json, tiny_with, with,
    };
    use burn::tensor::DType;
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
    fn defaults_of_gemma() {
        let config = tiny_gemma();
        assert!(config.tie_word_embeddings);
        assert_eq!((config.query_pre_attn_scalar, config.sliding_window), (6, None));
        assert_eq!((config.attn_logit_softcapping, config.final_logit_softcapping), (None, None));
        let config = gemma2_with(json!({"attn_logit_softcapping": null}));
        assert_eq!((config.query_pre_attn_scalar, config.sliding_window), (5, Some(3)));
        assert_eq!(config.attn_logit_softcapping, None);
        assert_eq!(config.final_logit_softcapping, Some(4.0));
    }

    #[test]
    fn unknown_keys_and_tensor_parallel_pretraining_are_ignored() {
        assert_eq!(tiny_with(json!({"pretraining_tp": 4, "use_cache": true})), tiny());
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let cases = [
            ("model_type", json!("mistral")),
            ("model_type", Value::Null),
            ("hidden_act", json!("gelu")),
            ("vocab_size", json!(0)),
            ("vocab_size", json!(-1)),
            ("hidden_size", Value::Null),
            ("hidden_size", json!(18)),
            ("intermediate_size", json!("wide")),
            ("num_hidden_layers", json!(0)),
            ("num_hidden_layers", json!(1_u64 << 32)),
            ("vocab_size", json!(u64::MAX)),
            ("head_dim", json!(1_u64 << 32)),
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
            ("use_bidirectional_attention", json!(true)),
        ];
        for (key, value) in cases {
            assert_refused(key, with(tiny_json(), json!({key: value})));
        }
    }

    #[test]
    fn impossible_gemmas_are_refused_by_name() {
        let cases = [
            ("hidden_act", json!("silu")),
            ("hidden_activation", json!("gelu")),
            ("num_key_value_heads", Value::Null),
            ("head_dim", Value::Null),
            ("query_pre_attn_scalar", Value::Null),
            ("query_pre_attn_scalar", json!(0)),
            ("sliding_window", Value::Null),
            ("sliding_window", json!(0)),
            ("attn_logit_softcapping", json!(0.0)),
            ("final_logit_softcapping", json!("high")),
            ("layer_types", json!(["full_attention"])),
            ("layer_types", json!(["full_attention", "chunked_attention"])),
        ];
        for (key, value) in cases {
            assert_refused(key, with(gemma2_json(), json!({key: value})));
        }
    }

    #[test]
    fn a_soft_cap_that_is_not_mentioned_is_refused() {
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            let mut config = gemma2_json();
            config.as_object_mut().unwrap().remove(key);
            assert_refused(key, config);
        }
    }

    fn assert_refused(key: &str, config: Value) {
        let error = DecoderConfig::parse(&config.to_string(), "config.json").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&format!("config.json: `{key}` is ")), "{message}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn an_odd_head_dim_that_was_not_given_is_refused() {
        let mut config = tiny_json();
        config["hidden_size"] = json!(12);
        let error =
            DecoderConfig::parse(&config.to_string(), "config.json").unwrap_err().to_string();
        assert!(error.contains("`head_dim`") && error.contains("it would be 3"), "{error}");
    }
}
