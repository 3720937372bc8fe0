//! A configuration as the `config.json` that other tools read.

use burn::tensor::DType;
use serde_json::{Value, json};

use super::{LlamaConfig, RopeScaling};

impl LlamaConfig {
    /// `config.json` in the keys of published LLaMA checkpoints, which every version of
    /// transformers reads, for weights stored as `dtype`.
    pub(crate) fn to_json(&self, dtype: DType) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
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
            "mlp_bias": self.mlp_bias,
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
    use crate::config::fixtures::tiny_with;

    #[test]
    fn what_is_written_reads_back_equal() {
        let scaling = json!({
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        });
        for overrides in [
            json!({"dtype": "float32"}),
            json!({"dtype": "bfloat16", "rope_theta": 5e5, "rope_scaling": scaling}),
            json!({"dtype": "float16", "bos_token_id": 1, "eos_token_id": 2}),
            json!({"dtype": "float32", "eos_token_id": [2, 3], "attention_bias": true}),
        ] {
            let config = tiny_with(overrides);
            let json = config.to_json(config.dtype.unwrap()).to_string();
            assert_eq!(LlamaConfig::parse(&json, "config.json").unwrap(), config);
        }
    }
}
