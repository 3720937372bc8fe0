//! The texts of all errors, as a snapshot.

use std::io::ErrorKind;

use burn::tensor::DType;
use peft_testing::every_variant;

use super::Error;

fn samples() -> Vec<Error> {
    let path = || "model/config.json".into();
    let name = || "model.norm.weight".to_string();
    let reason = || "it is cut off at byte 7".to_string();
    let io = |path: &str| Error::Io { path: path.into(), source: ErrorKind::NotFound.into() };
    let key = |key: &str| Error::Key {
        path: path(),
        key: key.into(),
        found: "\"mamba\"".into(),
        expected: "\"llama\"".into(),
    };
    let missing = |names: &[&str]| Error::MissingTensors {
        path: path(),
        names: names.iter().map(|n| n.to_string()).collect(),
    };
    every_variant!(Error {
        Error::Io { .. } => [io("/model/config.json"), io("org/name/config.json")],
        Error::Json { .. } => [Error::Json { path: path(), reason: reason() }],
        Error::Key { .. } => [key("model_type"), key("hidden_act")],
        Error::Safetensors { .. } => [Error::Safetensors { path: path(), reason: reason() }],
        Error::MissingShard { .. } => [
            Error::MissingShard { index: path(), shard: "model-2.safetensors".into(), tensor: name() },
        ],
        Error::NotInShard { .. } => [
            Error::NotInShard { index: path(), shard: "model-2.safetensors".into(), tensor: name() },
        ],
        Error::MissingTensors { .. } => [missing(&["lm_head.weight"]), missing(&["a", "b", "c", "d", "e", "f"])],
        Error::UnexpectedTensors { .. } => [
            Error::UnexpectedTensors { path: path(), names: vec![name()] },
        ],
        Error::TensorShape { .. } => [
            Error::TensorShape { path: path(), name: name(), found: vec![2], expected: vec![3] },
        ],
        Error::TensorType { .. } => [
            Error::TensorType { path: path(), name: name(), found: DType::U8 },
        ],
        Error::TensorRead { .. } => [Error::TensorRead { path: path(), reason: reason() }],
        Error::DType { .. } => [Error::DType { found: DType::I32 }],
        Error::Exists { .. } => [Error::Exists { path: path() }],
        Error::ModelMismatch { .. } => [
            Error::ModelMismatch { name: name(), found: "missing".into(), expected: "[3]".into() },
        ],
        Error::Write { .. } => [Error::Write { path: path(), reason: reason() }],
        Error::Tokenizer { .. } => [Error::Tokenizer { path: path(), reason: reason() }],
        Error::NoChatTemplate { .. } => [
            Error::NoChatTemplate { path: path(), name: "default".into(), found: vec![] },
            Error::NoChatTemplate { path: path(), name: "x".into(), found: vec!["rag".into()] },
        ],
        Error::ChatTemplateUnset => [Error::ChatTemplateUnset],
        Error::ChatTemplate { .. } => [
            Error::ChatTemplate { path: path(), reason: "roles must alternate".into() },
        ],
        Error::UnstableChatTemplate { .. } => [
            Error::UnstableChatTemplate { path: path(), message: 2 },
        ],
        Error::Text { .. } => [Error::Text { reason: reason() }],
        Error::NotFinite { .. } => [
            Error::NotFinite { path: path(), name: name(), index: 4, value: f32::INFINITY },
        ],
        Error::Setting { .. } => [
            Error::Setting { key: "temperature", found: "-1".into(), expected: "0 or more" },
        ],
        Error::Logits => [Error::Logits],
        Error::Prompt { .. } => [Error::Prompt { index: 0, reason: "it is empty".into() }],
        Error::Device { .. } => [Error::Device { reason: "out of memory".into() }],
    })
}

#[test]
fn texts() {
    insta::assert_snapshot!(peft_testing::texts(&samples(), Error::hint));
}
