//! Rotary position embedding: how it is configured, and its frequencies.

use std::f64::consts::TAU;

use super::keys::{positive, size};
use crate::{Error, json::Object};

/// Rotary position embedding of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies. Default: 10000.
    pub theta: f64,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// How frequencies are stretched for contexts longer than the model was pre-trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// As LLaMA-3.1 does it.
    Llama3(Llama3Scaling),
}

/// LLaMA-3.1's stretching: long wavelengths are divided by `factor`, short ones kept, and those
/// between are interpolated.
#[derive(Debug, Clone, PartialEq)]
pub struct Llama3Scaling {
    /// How much longer the context has become; at least 1.
    pub factor: f64,
    /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are stretched fully.
    pub low_freq_factor: f64,
    /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are kept.
    pub high_freq_factor: f64,
    /// Context length of the pre-training.
    pub original_max_position_embeddings: usize,
}

impl Rope {
    /// From `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling`.
    pub(super) fn parse(json: &Object) -> Result<Self, Error> {
        let theta = positive(json, "rope_theta", Some(10_000.0))?;
        if let Some(parameters) = json.child("rope_parameters")? {
            let theta = positive(&parameters, "rope_theta", Some(theta))?;
            return Ok(Self { theta, scaling: RopeScaling::parse(&parameters)? });
        }
        let scaling = match json.child("rope_scaling")? {
            Some(scaling) => RopeScaling::parse(&scaling)?,
            None => RopeScaling::Default,
        };
        Ok(Self { theta, scaling })
    }

    /// Angle per position of each pair of coordinates, `[head_dim / 2]`.
    pub fn inv_freq(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|pair| self.theta.powf(-((2 * pair) as f64) / head_dim as f64))
            .map(|frequency| self.scaling.apply(frequency) as f32)
            .collect()
    }
}

impl RopeScaling {
    /// `rope_type` was called `type` once. A missing one is only safe to read as `default` where
    /// there is nothing to scale by.
    fn parse(json: &Object) -> Result<Self, Error> {
        const EXPECTED: &str = "\"default\" or \"llama3\"";
        let old: Option<String> = json.get("type", EXPECTED)?;
        let key = if old.is_some() { "type" } else { "rope_type" };
        let name = json.get("rope_type", EXPECTED)?.or(old);
        let factor: Option<f64> = json.get("factor", "a number")?;
        match (name.as_deref(), factor) {
            (Some("default"), _) | (None, None) => Ok(Self::Default),
            (Some("llama3"), _) => Ok(Self::Llama3(Llama3Scaling::parse(json)?)),
            _ => Err(json.refuse(key, EXPECTED)),
        }
    }

    fn apply(&self, frequency: f64) -> f64 {
        match self {
            Self::Default => frequency,
            Self::Llama3(scaling) => scaling.apply(frequency),
        }
    }
}

impl Llama3Scaling {
    fn parse(json: &Object) -> Result<Self, Error> {
        let factor = positive(json, "factor", None)?;
        let low_freq_factor = positive(json, "low_freq_factor", None)?;
        let high_freq_factor = positive(json, "high_freq_factor", None)?;
        if factor < 1.0 {
            return Err(json.refuse("factor", "a number of at least 1"));
        }
        if high_freq_factor <= low_freq_factor {
            let expected = format!("a number above `low_freq_factor` ({low_freq_factor})");
            return Err(json.refuse("high_freq_factor", expected));
        }
        let key = "original_max_position_embeddings";
        let original_max_position_embeddings = size(json, key, None)?;
        Ok(Self { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings })
    }

    fn apply(&self, frequency: f64) -> f64 {
        let turns = self.original_max_position_embeddings as f64 * frequency / TAU;
        let kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        let kept = kept.clamp(0.0, 1.0);
        frequency * (kept + (1.0 - kept) / self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecoderConfig;
    use crate::config::fixtures::{tiny, tiny_json, tiny_with};
    use serde_json::{Value, json};

    fn llama3() -> Value {
        json!({
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        })
    }

    #[test]
    fn the_three_key_styles_agree() {
        let mut parameters = llama3();
        parameters["rope_theta"] = json!(5e5);
        let new = tiny_with(json!({"rope_parameters": parameters})).rope;
        let published = tiny_with(json!({"rope_theta": 5e5, "rope_scaling": llama3()})).rope;
        let mut oldest = llama3();
        oldest["type"] = oldest["rope_type"].take();
        let oldest = tiny_with(json!({"rope_theta": 5e5, "rope_scaling": oldest})).rope;
        assert_eq!(new.theta, 5e5);
        assert!(matches!(new.scaling, RopeScaling::Llama3(_)));
        assert_eq!(new, published);
        assert_eq!(new, oldest);
    }

    #[test]
    fn nothing_said_is_the_default() {
        let rope = Rope { theta: 10_000.0, scaling: RopeScaling::Default };
        assert_eq!(tiny().rope, rope);
        assert_eq!(tiny_with(json!({"rope_scaling": null})).rope, rope);
        assert_eq!(tiny_with(json!({"rope_parameters": {"rope_theta": 1e4}})).rope, rope);
        assert_eq!(tiny_with(json!({"rope_scaling": {"type": "default"}})).rope, rope);
    }

    #[test]
    fn default_frequencies() {
        let frequencies = tiny().rope.inv_freq(4);
        assert_eq!(frequencies, [1.0, 0.01]);
    }

    #[test]
    fn long_wavelengths_are_stretched_and_short_ones_kept() {
        let rope = tiny_with(json!({"rope_scaling": llama3()})).rope;
        let RopeScaling::Llama3(scaling) = rope.scaling else { panic!("llama3 expected") };
        assert_eq!(scaling.apply(1.0), 1.0);
        assert_eq!(scaling.apply(0.01), 0.01 / 8.0);
        let between = scaling.apply(0.4);
        assert!(between > 0.4 / 8.0 && between < 0.4);
    }

    #[test]
    fn impossible_scaling_is_refused_by_name() {
        let cases = [
            ("rope_type", json!("yarn")),
            ("rope_type", Value::Null),
            ("factor", json!(0.5)),
            ("factor", Value::Null),
            ("low_freq_factor", json!(0)),
            ("high_freq_factor", json!(1.0)),
            ("original_max_position_embeddings", Value::Null),
        ];
        for (key, value) in cases {
            let mut config = tiny_json();
            config["rope_scaling"] = llama3();
            config["rope_scaling"][key] = value;
            let error = DecoderConfig::parse(&config.to_string(), "config.json").unwrap_err();
            let message = error.to_string();
            assert!(message.contains(&format!("`rope_scaling.{key}` is ")), "{message}");
        }
    }
}
