//! Families of decoders, and what they differ in.

use serde::Deserialize;

use super::keys::{flag, known};
use crate::{Error, json::Object};

/// What Gemma calls its activation.
pub(super) const GELU: &str = "gelu_pytorch_tanh";

/// Family of a decoder, `model_type` in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelType {
    /// LLaMA 2 and 3.
    Llama,
    /// The first Gemma: scaled embeddings, norms that store their scale less one, a GELU.
    Gemma,
    /// Gemma 2: as Gemma, with sliding windows, soft caps, and norms after attention and MLP too.
    Gemma2,
}

impl ModelType {
    /// The family named in `json`, refused where a key asks for something it does not have.
    pub(super) fn parse(json: &Object) -> Result<Self, Error> {
        let family: Self = json.require("model_type", "\"llama\", \"gemma\" or \"gemma2\"")?;
        if family.is_gemma() {
            known(json, "hidden_activation", &[GELU])?;
            // The first checkpoints said "gelu", but were trained with the tanh form.
            known(json, "hidden_act", &[GELU, "gelu"])?;
        } else {
            known(json, "hidden_act", &["silu"])?;
        }
        match flag(json, "use_bidirectional_attention", false)? {
            false => Ok(family),
            true => Err(json.refuse("use_bidirectional_attention", "false")),
        }
    }

    /// Whether this is one of the Gemmas.
    pub(crate) fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma | Self::Gemma2)
    }

    /// `model_type` and the class in `architectures`.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Llama => ("llama", "LlamaForCausalLM"),
            Self::Gemma => ("gemma", "GemmaForCausalLM"),
            Self::Gemma2 => ("gemma2", "Gemma2ForCausalLM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecoderConfig;
    use crate::config::fixtures::{tiny, tiny_gemma, tiny_gemma2, tiny_json, tiny_with};
    use serde_json::json;

    #[test]
    fn the_families() {
        assert_eq!(tiny().model_type, ModelType::Llama);
        assert_eq!(tiny_gemma().model_type, ModelType::Gemma);
        assert_eq!(tiny_gemma2().model_type, ModelType::Gemma2);
    }

    #[test]
    fn every_spelling_of_gemmas_activation_is_the_same() {
        for (key, name) in
            [("hidden_act", "gelu"), ("hidden_act", GELU), ("hidden_activation", GELU)]
        {
            let keys = json!({"model_type": "gemma", "head_dim": 6, key: name});
            assert_eq!(tiny_with(keys), tiny_gemma());
        }
    }

    #[test]
    fn other_families_are_refused_with_a_hint() {
        let mut config = tiny_json();
        config["model_type"] = json!("gemma3_text");
        let error = DecoderConfig::parse(&config.to_string(), "config.json").unwrap_err();
        let found = r#"config.json: `model_type` is "gemma3_text""#;
        let expected = r#"expected "llama", "gemma" or "gemma2""#;
        assert_eq!(error.to_string(), format!("{found}, {expected}"));
        assert!(error.hint().unwrap().contains("Gemma 2"));
    }
}
