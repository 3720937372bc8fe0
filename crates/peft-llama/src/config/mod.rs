//! `config.json` of a LLaMA checkpoint, checked.

mod parse;
mod rope;
mod write;

use std::path::Path;

use burn::tensor::DType;

use crate::{Error, json::Object};
pub(crate) use parse::token_ids;
pub use rope::{Llama3Scaling, Rope, RopeScaling};

/// Architecture of a LLaMA-family decoder, read from `config.json`.
///
/// Made by [`from_file`](Self::from_file) or [`parse`](Self::parse) only, so a value of this type
/// describes a decoder that can be built.
///
/// ```
/// use peft_llama::LlamaConfig;
///
/// let config = LlamaConfig::parse(
///     r#"{
///         "model_type": "llama",
///         "vocab_size": 128,
///         "hidden_size": 64,
///         "intermediate_size": 172,
///         "num_hidden_layers": 2,
///         "num_attention_heads": 4,
///         "num_key_value_heads": 2
///     }"#,
///     "config.json",
/// )?;
/// assert_eq!(config.head_dim, 16);
/// # Ok::<(), peft_llama::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LlamaConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads, each shared by equally many query heads.
    /// Default: `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; even. Default: `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Longest sequence the model was trained for. Default: 2048.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm. Default: 1e-6.
    pub rms_norm_eps: f64,
    /// Standard deviation of the weights before training. Default: 0.02.
    pub initializer_range: f64,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Whether the output head is the embedding. Default: false.
    pub tie_word_embeddings: bool,
    /// Whether the attention projections have biases. Default: false.
    pub attention_bias: bool,
    /// Whether the MLP projections have biases. Default: false.
    pub mlp_bias: bool,
    /// Type the weights are meant to be used in, where the checkpoint says so.
    pub dtype: Option<DType>,
    /// Token that begins a sequence.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a sequence; may be empty.
    pub eos_token_id: Vec<u32>,
}

impl LlamaConfig {
    /// The configuration in the file at `path`, in the keys of published LLaMA checkpoints
    /// (`rope_theta`, `rope_scaling`, `torch_dtype`) or of transformers 5 (`rope_parameters`,
    /// `dtype`). Unknown keys are ignored.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], and [`Error::Key`] for the first key that is missing or
    /// impossible.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        parse::config(&Object::read(path.as_ref())?)
    }

    /// Like [`from_file`](Self::from_file), from text; errors name `origin` as the file.
    ///
    /// # Errors
    /// [`Error::Json`] and [`Error::Key`].
    pub fn parse(json: &str, origin: impl AsRef<Path>) -> Result<Self, Error> {
        parse::config(&Object::parse(json, origin.as_ref())?)
    }
}

/// The types weights may be stored and used in.
pub(crate) fn is_weight_dtype(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::LlamaConfig;
    use serde_json::{Value, json};

    /// A decoder small enough for unit tests: two layers, four query and two key heads.
    pub fn tiny_json() -> Value {
        json!({
            "model_type": "llama",
            "vocab_size": 19,
            "hidden_size": 16,
            "intermediate_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "initializer_range": 0.4,
        })
    }

    /// [`tiny_json`] with the keys of `overrides` set.
    pub fn tiny_with(overrides: Value) -> LlamaConfig {
        let mut config = tiny_json();
        for (key, value) in overrides.as_object().unwrap() {
            config[key] = value.clone();
        }
        LlamaConfig::parse(&config.to_string(), "config.json").unwrap()
    }

    /// [`tiny_json`] as it is.
    pub fn tiny() -> LlamaConfig {
        tiny_with(json!({}))
    }
}
