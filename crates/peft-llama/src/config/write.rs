//! A configuration as the `config.json` that other tools read.

use burn::tensor::DType;
use serde_json::{Value, json};

use super::model_type::GELU;
use super::{DecoderConfig, ModelType, RopeScaling};

impl DecoderConfig {
    /// `config.json` in the keys of published checkpoints, which every version of transformers
    /// reads, for weights stored as `dtype`.
    pub(crate) fn to_json(&self, dtype: DType) -> Value {
        let mut json = self.common_keys(dtype);
        if self.model_type == ModelType::Llama {
            json["hidden_act"] = "silu".into();
            json["mlp_bias"] = self.mlp_bias.into();
        } else {
            json["hidden_act"] = GELU.into();
            json["hidden_activation"] = GELU.into();
        }
        if self.model_type == ModelType::Gemma2 {
            json["query_pre_attn_scalar"] = self.query_pre_attn_scalar.into();
            json["attn_logit_softcapping"] = self.attn_logit_softcapping.into();
            json["final_logit_softcapping"] = self.final_logit_softcapping.into();
            json["sliding_window"] = self.sliding_window.into();
            json["layer_types"] = json!(self.layer_types);
        }
        json
    }

    fn common_keys(&self, dtype: DType) -> Value {
        let (model_type, architecture) = self.model_type.names();
        json!({
            "architectures": [architecture],
            "model_type": model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "initializer_range": self.initializer_range,
            "rope_theta": self.rope.theta,
            "rope_scaling": self.rope.scaling.to_json(),
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "torch_dtype": dtype_name(dtype),
            "bos_token_id": self.bos_token_id,
            "eos_token_id": token_ids(&self.eos_token_id),
        })
    }
}

impl RopeScaling {
    fn to_json(&self) -> Value {
        match self {
            Self::Default => Value::Null,
            Self::Llama3(scaling) => json!({
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_position_embeddings,
            }),
        }
    }
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bfloat16",
        DType::F16 => "float16",
        _ => "float32",
    }
}

fn token_ids(ids: &[u32]) -> Value {
    match ids {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{gemma2_with, tiny_gemma, tiny_with};

    #[test]
    fn what_is_written_reads_back_equal() {
        let scaling = json!({
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        });
        let full = json!(["full_attention", "full_attention"]);
        for config in [
            tiny_with(json!({"dtype": "float32"})),
            tiny_with(json!({"rope_theta": 5e5, "rope_scaling": scaling})),
            tiny_with(json!({"dtype": "float16", "bos_token_id": 1, "eos_token_id": 2})),
            tiny_with(json!({"eos_token_id": [2, 3], "attention_bias": true, "mlp_bias": true})),
            tiny_gemma(),
            gemma2_with(json!({"dtype": "bfloat16", "tie_word_embeddings": false})),
            gemma2_with(json!({"attn_logit_softcapping": null, "layer_types": full})),
        ] {
            let dtype = config.dtype.unwrap_or(DType::BF16);
            let json = config.to_json(dtype).to_string();
            let written = DecoderConfig { dtype: Some(dtype), ..config };
            assert_eq!(DecoderConfig::parse(&json, "config.json").unwrap(), written);
        }
    }
}
