//! `config.json` of a checkpoint, checked.

mod keys;
mod layer_types;
mod model_type;
mod parse;
mod rope;
mod write;

use std::path::Path;

use burn::tensor::DType;

use crate::{Error, json::Object};
pub(crate) use keys::token_ids;
pub use layer_types::LayerType;
pub use model_type::ModelType;
pub use rope::{Llama3Scaling, Rope, RopeScaling};

/// Architecture of a decoder, read from `config.json`. Fields are named as the keys there.
///
/// Made by [`from_file`](Self::from_file) or [`parse`](Self::parse) only, so a value of this type
/// describes a decoder that can be built.
///
/// ```
/// use peft_llama::DecoderConfig;
///
/// let config = DecoderConfig::parse(
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
pub struct DecoderConfig {
    /// Family of the decoder.
    pub model_type: ModelType,
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
    /// Default: `num_attention_heads` in LLaMA, none in Gemma.
    pub num_key_value_heads: usize,
    /// Width of one head; even. Default: `hidden_size / num_attention_heads` in LLaMA, none in
    /// Gemma.
    pub head_dim: usize,
    /// Attention scores are divided by the square root of this. Always `head_dim` but in Gemma 2.
    pub query_pre_attn_scalar: usize,
    /// Attention scores are squashed into ± this; only in Gemma 2.
    pub attn_logit_softcapping: Option<f64>,
    /// Logits are squashed into ± this; only in Gemma 2.
    pub final_logit_softcapping: Option<f64>,
    /// What each layer attends to, first layer to last. Default in Gemma 2: sliding and full in
    /// turn; full in the other families.
    pub layer_types: Vec<LayerType>,
    /// How many tokens a query of a sliding layer sees, itself included; only in Gemma 2. Default:
    /// 4096 where no layer slides, none elsewhere.
    pub sliding_window: Option<usize>,
    /// Longest sequence the model was trained for. Default: 2048 in LLaMA, 8192 in Gemma.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm. Default: 1e-6.
    pub rms_norm_eps: f64,
    /// Standard deviation of the weights before training. Default: 0.02.
    pub initializer_range: f64,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Whether the output head is the embedding. Default: false in LLaMA, true in Gemma.
    pub tie_word_embeddings: bool,
    /// Whether the attention projections have biases. Default: false.
    pub attention_bias: bool,
    /// Whether the MLP projections have biases; never in Gemma. Default: false.
    pub mlp_bias: bool,
    /// Type the weights are meant to be used in, where the checkpoint says so.
    pub dtype: Option<DType>,
    /// Token that begins a sequence.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a sequence; may be empty.
    pub eos_token_id: Vec<u32>,
}

impl DecoderConfig {
    /// The configuration in the file at `path`, in the keys of published checkpoints
    /// (`rope_theta`, `rope_scaling`, `torch_dtype`) or of transformers 5 (`rope_parameters`,
    /// `dtype`, `layer_types`). Unknown keys are ignored.
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

    /// How many tokens a query of the layer at `index` sees, itself included; `None` for all.
    pub(crate) fn window(&self, index: usize) -> Option<usize> {
        let slides = self.layer_types.get(index) == Some(&LayerType::SlidingAttention);
        self.sliding_window.filter(|_| slides)
    }
}

/// The types weights may be stored and used in.
pub(crate) fn is_weight_dtype(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::DecoderConfig;
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

    /// [`tiny_json`] as a Gemma 2 whose window, caps and scale matter within five tokens. The first
    /// layer slides.
    pub fn gemma2_json() -> Value {
        let keys = json!({
            "model_type": "gemma2",
            "head_dim": 6,
            "query_pre_attn_scalar": 5,
            "sliding_window": 3,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 4.0,
        });
        with(tiny_json(), keys)
    }

    /// `config` with the keys of `overrides` set.
    pub fn with(mut config: Value, overrides: Value) -> Value {
        for (key, value) in overrides.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    /// [`tiny_json`] with the keys of `overrides` set.
    pub fn tiny_with(overrides: Value) -> DecoderConfig {
        parsed(with(tiny_json(), overrides))
    }

    /// [`tiny_json`] as it is.
    pub fn tiny() -> DecoderConfig {
        parsed(tiny_json())
    }

    /// [`tiny_json`] as a Gemma.
    pub fn tiny_gemma() -> DecoderConfig {
        tiny_with(json!({"model_type": "gemma", "head_dim": 6}))
    }

    /// [`gemma2_json`] with the keys of `overrides` set.
    pub fn gemma2_with(overrides: Value) -> DecoderConfig {
        parsed(with(gemma2_json(), overrides))
    }

    /// [`gemma2_json`] as it is.
    pub fn tiny_gemma2() -> DecoderConfig {
        parsed(gemma2_json())
    }

    fn parsed(config: Value) -> DecoderConfig {
        DecoderConfig::parse(&config.to_string(), "config.json").unwrap()
    }
}
