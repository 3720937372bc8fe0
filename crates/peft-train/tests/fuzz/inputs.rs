//! Inputs that get further than a reader's first look.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

/// Keys and values that formats look for, so that reading gets further than the first look.
pub const WORDS: [&str; 14] = [
    "instruction",
    "input",
    "output",
    "prompt",
    "completion",
    "text",
    "messages",
    "role",
    "content",
    "conversations",
    "from",
    "value",
    "assistant",
    "gpt",
];

pub fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![select(&WORDS[..]).prop_map(str::to_string), ".{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let object = btree_map(text.clone(), inner.clone(), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The object in `json`, in which a few keys have other values, or are new.
pub fn changed_object(json: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(json).unwrap();
    let keys: Vec<String> = object.keys().cloned().chain(["new".into()]).collect();
    btree_map(select(keys), odd_value(), 1..3).prop_map(move |changes| {
        let mut object = object.clone();
        object.extend(changes);
        serde_json::to_vec(&object).unwrap()
    })
}

/// Values that programs take for sizes, and others.
fn odd_value() -> impl Strategy<Value = Value> {
    let sizes = select(&[0_u64, 1, 2, 3, 1 << 32, u64::MAX][..]).prop_map(Value::from);
    let floats = select(&[0.0, -0.5, 1.5, 1e300][..]).prop_map(Value::from);
    prop_oneof![sizes, floats, json()]
}

/// `bytes` with a few of them replaced, removed or put in, mostly near the beginning.
pub fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let near = (0..600_usize).prop_map(|at| (at, None));
    let anywhere = any::<Index>().prop_map(|at| (0, Some(at)));
    let byte = prop_oneof![any::<u8>(), select(&b"0123456789-.,:\"[]{}e "[..])];
    let edit = (prop_oneof![2 => near, 1 => anywhere], 0..9_usize, vec(byte, 0..5));
    vec(edit, 1..3).prop_map(move |edits| {
        let mut bytes = bytes.clone();
        for ((near, index), removed, new) in edits {
            let at = index.map_or(near, |index| index.index(bytes.len() + 1)).min(bytes.len());
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, new);
        }
        bytes
    })
}

/// Safetensors files in order, with `names` in any shape and type.
pub fn tensors(
    names: &'static [&'static str],
    metadata: &'static [(&'static str, &'static str)],
) -> impl Strategy<Value = Vec<u8>> {
    let dtypes = [Dtype::F32, Dtype::F32, Dtype::BF16, Dtype::F16, Dtype::I64, Dtype::U8];
    let tensor = (select(dtypes.to_vec()), vec(0..5_usize, 0..4), any::<u8>());
    (btree_map(select(names), tensor, 0..6), any::<bool>()).prop_map(move |(tensors, described)| {
        let filled = tensors.into_iter().map(|(name, (dtype, shape, fill))| {
            let length = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name, dtype, shape, vec![fill; length])
        });
        let filled: Vec<_> = filled.collect();
        let views = filled.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        safetensors::serialize(views, described.then(|| metadata.collect())).unwrap()
    })
}
