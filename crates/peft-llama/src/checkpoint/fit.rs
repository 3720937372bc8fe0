//! Whether the tensors of a checkpoint are those a configuration calls for.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use peft_core::{Place, VisitFloat, visit_floats};

use super::shards::Tensors;
use crate::config::is_weight_dtype;
use crate::{DecoderConfig, Error};

/// Names and stored shapes of the parameters of a plain decoder.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// The parameters `config` calls for.
pub(super) fn shapes(config: &DecoderConfig, device: &Device) -> Shapes {
    struct Collect(Shapes);
    impl VisitFloat for Collect {
        fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
            // Before a linear weight exists, its shape is the stored one, `[d_output, d_input]`.
            self.0.insert(place.path(), param.lazy_shape().to_vec());
        }
    }
    let mut collect = Collect(Shapes::new());
    visit_floats(&config.init(device), &mut collect);
    collect.0
}

/// Checks that `tensors` are those of `shapes`, all of them and no others, and returns the names
/// of harmless extras.
pub(super) fn check(tensors: &Tensors, shapes: &Shapes, dir: &Path) -> Result<Vec<String>, Error> {
    let absent = |name: &&String| !tensors.contains_key(*name);
    let missing: Vec<_> = shapes.keys().filter(absent).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::MissingTensors { path: dir.into(), names: missing });
    }
    let extra = tensors.keys().filter(|name| !shapes.contains_key(*name)).cloned();
    let (ignored, unexpected): (Vec<_>, Vec<_>) = extra.partition(|name| is_harmless(name));
    if !unexpected.is_empty() {
        return Err(Error::UnexpectedTensors { path: dir.into(), names: unexpected });
    }
    for (name, expected) in shapes {
        check_tensor(tensors, name, expected)?;
    }
    Ok(ignored)
}

/// `lm_head.weight` is only ever an extra where the head is tied.
fn is_harmless(name: &str) -> bool {
    name == "lm_head.weight" || name.ends_with(".rotary_emb.inv_freq")
}

fn check_tensor(tensors: &Tensors, name: &str, expected: &[usize]) -> Result<(), Error> {
    let stored = &tensors[name];
    let (path, name) = (stored.file.clone(), name.to_string());
    let found = stored.tensor.shape.to_vec();
    if found != expected {
        return Err(Error::TensorShape { path, name, found, expected: expected.into() });
    }
    match is_weight_dtype(stored.tensor.dtype) {
        true => Ok(()),
        false => Err(Error::TensorType { path, name, found: stored.tensor.dtype }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::shards::Stored;
    use crate::config::fixtures::{tiny, tiny_gemma2, tiny_with};
    use burn::store::burn_pack::{self, Bytes, Shape};
    use burn::tensor::DType;
    use peft_testing::device;
    use serde_json::json;

    fn stored(name: &str, shape: &[usize], dtype: DType) -> Stored {
        let bytes = Bytes::from_bytes_vec(vec![0; shape.iter().product::<usize>() * dtype.size()]);
        let shape = Shape::from(shape.to_vec());
        let tensor = burn_pack::Tensor::new(name.into(), dtype, shape, None, bytes);
        Stored { file: "dir/model.safetensors".into(), tensor }
    }

    /// The tensors `config` calls for, changed by `edit`, checked.
    fn checked(
        config: &DecoderConfig,
        edit: impl FnOnce(&mut Tensors),
    ) -> Result<Vec<String>, Error> {
        let shapes = shapes(config, &device());
        let entry = |(name, shape): (&String, &Vec<usize>)| {
            (name.clone(), stored(name, shape, DType::BF16))
        };
        let mut tensors = shapes.iter().map(entry).collect();
        edit(&mut tensors);
        check(&tensors, &shapes, Path::new("dir"))
    }

    fn put(name: &str, shape: &[usize], dtype: DType) -> impl FnOnce(&mut Tensors) {
        let (name, stored) = (name.to_string(), stored(name, shape, dtype));
        move |tensors| drop(tensors.insert(name, stored))
    }

    #[test]
    fn names_and_shapes_are_those_of_the_checkpoint_format() {
        let shapes = shapes(&tiny(), &device());
        assert_eq!(shapes.len(), 2 * 9 + 3);
        assert_eq!(shapes["model.embed_tokens.weight"], [19, 16]);
        assert_eq!(shapes["model.layers.1.self_attn.k_proj.weight"], [8, 16]);
        assert_eq!(shapes["model.layers.0.mlp.down_proj.weight"], [16, 12]);
        assert_eq!(shapes["model.layers.0.post_attention_layernorm.weight"], [16]);
        assert_eq!(shapes["model.norm.weight"], [16]);
        assert_eq!(shapes["lm_head.weight"], [19, 16]);
    }

    #[test]
    fn gemma_2_has_two_more_norms_per_layer_and_no_head() {
        let shapes = shapes(&tiny_gemma2(), &device());
        assert_eq!(shapes.len(), 2 * 11 + 2);
        assert_eq!(shapes["model.layers.0.pre_feedforward_layernorm.weight"], [16]);
        assert_eq!(shapes["model.layers.1.post_feedforward_layernorm.weight"], [16]);
        assert_eq!(shapes["model.layers.1.self_attn.q_proj.weight"], [24, 16]);
    }

    #[test]
    fn harmless_extras_are_ignored() {
        let inv_freq = "model.layers.0.self_attn.rotary_emb.inv_freq";
        assert!(checked(&tiny(), |_| ()).unwrap().is_empty());
        assert_eq!(checked(&tiny(), put(inv_freq, &[2], DType::F32)).unwrap(), [inv_freq]);
        let tied = tiny_with(json!({"tie_word_embeddings": true}));
        let head = put("lm_head.weight", &[19, 16], DType::F32);
        assert_eq!(checked(&tied, head).unwrap(), ["lm_head.weight"]);
    }

    #[test]
    fn every_other_difference_is_an_error_with_the_name() {
        let norm = "model.norm.weight";
        type Edit = Box<dyn FnOnce(&mut Tensors)>;
        let cases: [(&str, Edit); 5] = [
            ("missing tensor `lm_head.weight`", Box::new(|t| drop(t.remove("lm_head.weight")))),
            ("missing tensors `lm_head.weight`, `model.embed_", Box::new(|t| t.clear())),
            ("unexpected tensor `extra`", Box::new(put("extra", &[1], DType::F32))),
            (
                "`model.norm.weight` has shape [4, 4], expected [16]",
                Box::new(put(norm, &[4, 4], DType::F32)),
            ),
            ("`model.norm.weight` is I8, expected F32", Box::new(put(norm, &[16], DType::I8))),
        ];
        for (problem, edit) in cases {
            let error = checked(&tiny(), edit).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
