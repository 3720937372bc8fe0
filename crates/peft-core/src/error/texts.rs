//! The texts of all errors, as a snapshot.

use peft_testing::every_variant;

use super::Error;

fn samples() -> Vec<Error> {
    let path = || "run/adapter_config.json".into();
    let weight = || "model.layers.0.mlp.up_proj.weight".to_string();
    let names = |count: usize| (0..count).map(|n| format!("layers.{n}")).collect();
    let setting = |key| Error::Setting { key, found: "0".into(), expected: "at least 1" };
    let pattern =
        |key| Error::Pattern { key, pattern: "(".into(), reason: "unclosed group".into() };
    let no_match = |count| Error::NoMatch {
        key: "target_modules",
        pattern: "\"query\"".into(),
        what: "linear layer of this model",
        available: names(count),
    };
    let key = |key: &str| Error::Key {
        path: path(),
        key: key.into(),
        found: "missing".into(),
        expected: "a string".into(),
    };
    let problem = || "expected shape [2, 3], found [3, 2]".to_string();
    every_variant!(Error {
        Error::Setting { .. } => [
            setting("period"),
            setting("r"),
            setting("target_r"),
            setting("output_head"),
            setting("adapter"),
            setting("init_lora_weights"),
        ],
        Error::NoMatch { .. } => [no_match(2), no_match(13)],
        Error::Pattern { .. } => [pattern("target_modules"), pattern("rank_pattern")],
        Error::AlreadyAttached { .. } => [Error::AlreadyAttached { path: weight() }],
        Error::Subnet { .. } => [
            Error::Subnet { axis: "rows", problem: "are not sorted".into() },
        ],
        Error::ParameterGone { .. } => [Error::ParameterGone { path: weight() }],
        Error::NotFinite { .. } => [Error::NotFinite { path: weight(), step: 7 }],
        Error::NotAllocated { .. } => [Error::NotAllocated { steps: 3, last_cut: 8 }],
        Error::UndecidedRanks => [Error::UndecidedRanks],
        Error::NoAdapter { .. } => [
            Error::NoAdapter { name: "first".into(), available: names(2) },
        ],
        Error::Irreversible { .. } => [
            Error::Irreversible { path: weight(), reason: "no journal was kept" },
        ],
        Error::Device { .. } => [
            Error::Device { name: "toaster".into(), compiled: vec!["flex", "ndarray"] },
        ],
        Error::DeviceMissing { .. } => [Error::DeviceMissing { name: "cuda:1".into() }],
        Error::Record { .. } => [
            Error::Record { entry: weight(), problem: problem() },
        ],
        Error::File { .. } => [
            Error::File { path: path(), problem: "no such file".into(), hint: "check the path" },
        ],
        Error::Key { .. } => [key("peft_type"), key("r")],
        Error::Unsupported { .. } => [
            Error::Unsupported {
                path: path(),
                key: "bias",
                found: "\"all\"".into(),
                hint: "train without biases",
            },
        ],
        Error::StoredTensor { .. } => [
            Error::StoredTensor { path: path(), name: weight(), problem: problem() },
        ],
    })
}

#[test]
fn texts() {
    insta::assert_snapshot!(peft_testing::texts(&samples(), Error::hint));
}
