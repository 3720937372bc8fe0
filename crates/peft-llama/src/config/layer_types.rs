//! What each layer attends to.

use serde::{Deserialize, Serialize};

use super::keys::size;
use crate::{Error, json::Object};

/// What a layer attends to, as `layer_types` in `config.json` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Every token so far.
    FullAttention,
    /// The last `sliding_window` tokens.
    SlidingAttention,
}

impl LayerType {
    /// The types of the layers of a Gemma 2. Without the key, every other layer slides, the first
    /// one included.
    pub(super) fn parse(json: &Object, layers: usize) -> Result<Vec<Self>, Error> {
        let expected = format!(
            "\"full_attention\" or \"sliding_attention\" for each of {layers} layers \
             (`num_hidden_layers`)"
        );
        match json.get::<Vec<Self>>("layer_types", &expected)? {
            None => Ok((0..layers).map(Self::alternating).collect()),
            Some(types) if types.len() == layers => Ok(types),
            Some(_) => Err(json.refuse("layer_types", expected)),
        }
    }

    fn alternating(layer: usize) -> Self {
        match layer.is_multiple_of(2) {
            true => Self::SlidingAttention,
            false => Self::FullAttention,
        }
    }
}

/// The window of a Gemma 2, which has to be given where one of `layer_types` slides.
pub(super) fn sliding_window(json: &Object, layer_types: &[LayerType]) -> Result<usize, Error> {
    let slides = layer_types.contains(&LayerType::SlidingAttention);
    size(json, "sliding_window", (!slides).then_some(4096))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{gemma2_with, tiny, tiny_gemma2, tiny_with};
    use serde_json::json;

    #[test]
    fn every_other_layer_slides() {
        let config = tiny_gemma2();
        assert_eq!(config.layer_types, [LayerType::SlidingAttention, LayerType::FullAttention]);
        assert_eq!((config.window(0), config.window(1)), (Some(3), None));
        let named = json!({"layer_types": ["sliding_attention", "full_attention"]});
        assert_eq!(gemma2_with(named), config);
    }

    #[test]
    fn or_those_that_are_named() {
        let second = json!({"layer_types": ["full_attention", "sliding_attention"]});
        let config = gemma2_with(second);
        assert_eq!((config.window(0), config.window(1)), (None, Some(3)));
        let none =
            json!({"layer_types": ["full_attention", "full_attention"], "sliding_window": null});
        let config = gemma2_with(none);
        assert_eq!((config.window(0), config.window(1)), (None, None));
    }

    #[test]
    fn other_families_never_slide() {
        let keys = json!({"sliding_window": 3, "layer_types": ["sliding_attention"]});
        assert_eq!(tiny_with(keys), tiny());
    }
}
