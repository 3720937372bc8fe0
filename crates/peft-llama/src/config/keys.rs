//! Values of single keys.

use burn::tensor::DType;
use serde::Deserialize;

use crate::{Error, json::Object};

/// A positive number, or `default` where the key is missing.
pub(super) fn positive(json: &Object, key: &str, default: Option<f64>) -> Result<f64, Error> {
    const EXPECTED: &str = "a number above 0";
    match json.get(key, EXPECTED)?.or(default) {
        Some(value) if value > 0.0 => Ok(value),
        _ => Err(json.refuse(key, EXPECTED)),
    }
}

/// Larger than any size of a model, and so small that products of two do not overflow.
const MAX_SIZE: usize = 1 << 24;
/// More layers than any model has. A damaged number would otherwise fill the memory with layers.
const MAX_LAYERS: usize = 1 << 12;

/// A positive integer, or `default` where the key is missing.
pub(super) fn size(json: &Object, key: &str, default: Option<usize>) -> Result<usize, Error> {
    up_to(MAX_SIZE, json, key, default)
}

/// The number of layers.
pub(super) fn layers(json: &Object) -> Result<usize, Error> {
    up_to(MAX_LAYERS, json, "num_hidden_layers", None)
}

fn up_to(max: usize, json: &Object, key: &str, default: Option<usize>) -> Result<usize, Error> {
    let expected = format!("an integer from 1 to {max}");
    match json.get(key, &expected)?.or(default) {
        Some(value) if (1..=max).contains(&value) => Ok(value),
        _ => Err(json.refuse(key, expected)),
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

/// True or false, or `default` where the key is missing.
pub(super) fn flag(json: &Object, key: &str, default: bool) -> Result<bool, Error> {
    Ok(json.get(key, "true or false")?.unwrap_or(default))
}

/// Refuses a name that is not one of `accepted`; a missing one stands for the first of them.
pub(super) fn known(json: &Object, key: &str, accepted: &[&str]) -> Result<(), Error> {
    let quoted: Vec<_> = accepted.iter().map(|name| format!("{name:?}")).collect();
    let expected = quoted.join(" or ");
    match json.get::<String>(key, &expected)? {
        Some(name) if !accepted.contains(&name.as_str()) => Err(json.refuse(key, expected)),
        _ => Ok(()),
    }
}

/// The type weights are meant to be used in, under its new key or its old one.
pub(super) fn dtype(json: &Object) -> Result<Option<DType>, Error> {
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
