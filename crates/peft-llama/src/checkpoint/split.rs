//! Into which files a large model's tensors go, as Hugging Face splits and names them.

use std::collections::BTreeMap;

use burn::store::ModuleSnapshot;
use burn::tensor::DType;
use serde_json::{Value, json};

use super::WEIGHTS;
use crate::CausalLm;

/// A safetensors file to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shard {
    /// Names of its tensors.
    pub names: Vec<String>,
    /// Their bytes together.
    pub bytes: u64,
}

/// The tensors of `model`, stored as `dtype`, in files of at most `max_bytes`, in the order of the
/// model. A larger tensor has a file of its own.
pub(super) fn split(model: &CausalLm, dtype: DType, max_bytes: u64) -> Vec<Shard> {
    let mut shards = vec![Shard::default()];
    for tensor in model.collect(None, None, false) {
        let bytes = (tensor.shape.iter().product::<usize>() * dtype.size()) as u64;
        let full = |shard: &Shard| shard.bytes > 0 && shard.bytes + bytes > max_bytes;
        if shards.last().is_some_and(full) {
            shards.push(Shard::default());
        }
        if let Some(shard) = shards.last_mut() {
            shard.names.push(tensor.name);
            shard.bytes += bytes;
        }
    }
    shards
}

/// File name of the shard at `index` of `count`.
pub(super) fn file_name(index: usize, count: usize) -> String {
    match count {
        1 => WEIGHTS.into(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
    }
}

/// Whether [`file_name`] gives such names: weights of a checkpoint.
pub(super) fn is_file_name(name: &str) -> bool {
    let shard = name.strip_prefix("model-").and_then(|name| name.strip_suffix(".safetensors"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let of = shard.and_then(|numbers| numbers.split_once("-of-"));
    name == WEIGHTS || of.is_some_and(|(index, count)| is_number(index) && is_number(count))
}

/// The content of `model.safetensors.index.json`.
pub(super) fn index(shards: &[Shard]) -> Value {
    let files = shards.iter().enumerate().flat_map(|(index, shard)| {
        let file = file_name(index, shards.len());
        shard.names.iter().map(move |name| (name.as_str(), file.clone()))
    });
    json!({
        "metadata": {"total_size": shards.iter().map(|shard| shard.bytes).sum::<u64>()},
        "weight_map": files.collect::<BTreeMap<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::tiny;
    use peft_testing::device;

    #[test]
    fn files_are_filled_in_order_up_to_the_limit() {
        let model = tiny().init(&device());
        let whole = split(&model, DType::F32, u64::MAX);
        assert_eq!((whole.len(), whole[0].names.len()), (1, 21));
        let shards = split(&model, DType::F32, 2000);
        assert!(shards.len() > 3 && shards.iter().all(|shard| shard.bytes <= 2000), "{shards:?}");
        let names: Vec<_> = shards.iter().flat_map(|shard| shard.names.clone()).collect();
        assert_eq!(names, whole[0].names);
        let half: u64 = split(&model, DType::BF16, 2000).iter().map(|shard| shard.bytes).sum();
        assert_eq!(2 * half, whole[0].bytes);
    }

    #[test]
    fn a_tensor_beyond_the_limit_has_a_file_of_its_own() {
        let shards = split(&tiny().init(&device()), DType::F32, 1);
        assert!(shards.iter().all(|shard| shard.names.len() == 1));
        assert_eq!(shards.len(), 21);
    }

    #[test]
    fn the_index_says_which_file_holds_what() {
        let shard = |names: &[&str], bytes| Shard {
            names: names.iter().map(|name| name.to_string()).collect(),
            bytes,
        };
        let want = json!({
            "metadata": {"total_size": 5},
            "weight_map": {
                "a": "model-00001-of-00002.safetensors",
                "b": "model-00001-of-00002.safetensors",
                "c": "model-00002-of-00002.safetensors",
            },
        });
        assert_eq!(index(&[shard(&["a", "b"], 3), shard(&["c"], 2)]), want);
        assert_eq!(file_name(0, 1), "model.safetensors");
    }

    #[test]
    fn own_file_names_are_known_from_others() {
        assert!([file_name(0, 1), file_name(6, 12)].iter().all(|name| is_file_name(name)));
        for other in
            ["adapter_model.safetensors", "model-00001.safetensors", "model--of-.safetensors"]
        {
            assert!(!is_file_name(other), "{other}");
        }
    }
}
