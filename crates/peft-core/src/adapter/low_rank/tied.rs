//! Embeddings that a file stores whole, for a base model whose output head is its embedding.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use crate::store::half_tied;
use crate::target::{OUTPUT_HEAD, tied_embedding};
use crate::{Catalogue, Error};

/// The path among `whole` of an output head that is a copy of the embedding next to it, where the
/// base model has one tensor for both.
///
/// # Errors
/// [`Error::Unsupported`] where it would take two: without `ensure_weight_tying`, PEFT trains a copy of
/// the one and leaves the other as it was.
pub fn tied_copy<'a>(
    whole: &'a BTreeMap<String, TensorData>,
    catalogue: &Catalogue,
) -> Result<Option<&'a str>, Error> {
    let Some(embedding) = tied_embedding(catalogue) else { return Ok(None) };
    let is_head = |path: &str| path.rsplit('.').nth(1) == Some(OUTPUT_HEAD);
    let head = whole.iter().find(|(path, _)| is_head(path));
    let module = embedding.module_path();
    match (whole.get(&embedding.path), head) {
        (None, None) => Ok(None),
        (Some(embedding), Some((path, head))) if embedding == head => Ok(Some(path)),
        (Some(_), Some(_)) => Err(half_tied(format!("`{module}` unlike `{OUTPUT_HEAD}`"))),
        (Some(_), None) => Err(half_tied(format!("`{module}` without `{OUTPUT_HEAD}`"))),
        (None, Some(_)) => Err(half_tied(format!("`{OUTPUT_HEAD}` without `{module}`"))),
    }
}
