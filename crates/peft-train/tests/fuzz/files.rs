//! Models, adapters and checkpoints of runs.

use std::fs;

use peft_train::run::{CheckpointManifest, FileDigest, LossScale, Progress, RunIdentity};
use proptest::prelude::*;
use proptest::sample::select;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::inputs::{changed_object, damaged, tensors};
use crate::readers::{self, checksum, repository, sha256};

const OF_MODEL: &[&str] =
    &["", "a", "lm_head.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.weight"];

const INDEX: &[u8] =
    br#"{"weight_map": {"a": "1.safetensors", "lm_head.weight": "1.safetensors"}}"#;

const OF_ADAPTER: &[&str] = &[
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_E",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A",
    "base_model.model.lm_head.weight",
    "base_model.model.",
    "x",
];

const OF_BLOCKS: &[&str] = &["0.rows", "0.cols", "0.delta", "1.rows", "1.cols", "1.delta"];
const BLOCKS: &[(&str, &str)] = &[
    ("format", "burn-peft-losia"),
    ("version", "1"),
    ("blocks", r#"[{"path": "lm_head.weight", "step": 3}]"#),
];

/// Files of a checkpoint, and what they hold.
const STATES: [&str; 3] = ["state.safetensors", "state.json", "optimizer.bpk"];
const STATE: &[u8] = b"any bytes: only their hash is looked at";

fn case(path: &str) -> Vec<u8> {
    fs::read(repository("tests/cases").join(path)).unwrap()
}

fn text(path: &str) -> String {
    String::from_utf8(case(path)).unwrap()
}

fn any_adapter() -> impl Strategy<Value = &'static str> {
    select(&["lora_tiny", "dora_tiny", "adalora_tiny"][..])
}

/// The manifest of a whole checkpoint.
fn manifest() -> String {
    let files = STATES.map(|name| (name.to_string(), digest())).into();
    let run = RunIdentity {
        method: "lora".into(),
        config: json!({ "run": { "seed": 1 } }),
        samples: 3,
        data: sha256(b"data"),
        dtype: "F32".into(),
        base: None,
    };
    let loss_scale = Some(LossScale { factor: 256.0, steps: 3 });
    let progress = Progress { steps: 7, skipped_steps: 0, loss_scale };
    let manifest = CheckpointManifest { format: 1, progress, run, files };
    serde_json::to_string(&manifest).unwrap()
}

fn digest() -> FileDigest {
    FileDigest { size: STATE.len() as u64, sha256: sha256(STATE) }
}

/// The files of a whole checkpoint.
fn run_files() -> Vec<(&'static str, Vec<u8>)> {
    let json = manifest();
    let checksum = checksum(json.as_bytes());
    let mut files =
        vec![("manifest.json", json.into_bytes()), ("manifest.sha256", checksum.into_bytes())];
    files.extend(STATES.map(|name| (name, STATE.to_vec())));
    files
}

fn run_checkpoint(files: &[(&'static str, Vec<u8>)]) -> bool {
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, &**bytes)).collect();
    readers::run_checkpoint(&files)
}

/// A file of one block of two rows and two columns.
fn whole_blocks() -> Vec<u8> {
    let indices = [1_i64, 3].map(i64::to_le_bytes).concat();
    let delta = [0.5_f32, -1.0, 0.0, 2.0].map(f32::to_le_bytes).concat();
    let views = [
        ("0.rows", TensorView::new(Dtype::I64, vec![2], &indices).unwrap()),
        ("0.cols", TensorView::new(Dtype::I64, vec![2], &indices).unwrap()),
        ("0.delta", TensorView::new(Dtype::F32, vec![2, 2], &delta).unwrap()),
    ];
    let metadata = BLOCKS.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    safetensors::serialize(views, Some(metadata.collect())).unwrap()
}

/// What the tests below damage is in order.
#[test]
fn whole_files_are_accepted() {
    assert!(run_checkpoint(&run_files()));
    assert!(readers::losia_blocks(&whole_blocks()));
    for name in ["lora_tiny", "dora_tiny", "adalora_tiny"] {
        let file = |file| case(&format!("{name}/{file}"));
        assert!(readers::adapter(&file("adapter_config.json"), &file("adapter_model.safetensors")));
    }
    let file = |file| case(&format!("llama_tiny/{file}"));
    assert!(readers::checkpoint(&file("config.json"), &file("model.safetensors")));
}

proptest! {
    #[test]
    fn damaged_models(weights in damaged(case("llama_tiny/model.safetensors"))) {
        readers::checkpoint(&case("llama_tiny/config.json"), &weights);
    }

    #[test]
    fn other_models(
        config in prop_oneof![
            changed_object(&text("llama_tiny/config.json")),
            changed_object(&text("gemma2_tiny/config.json")),
            damaged(case("llama_tiny/config.json")),
        ],
        weights in tensors(OF_MODEL, &[("format", "pt")]),
    ) {
        readers::checkpoint(&config, &weights);
    }

    #[test]
    fn indices(
        index in damaged(INDEX.to_vec()),
        shard in tensors(OF_MODEL, &[]),
    ) {
        readers::checkpoint_index(&index, &shard);
    }

    #[test]
    fn damaged_adapters(
        (config, weights) in any_adapter().prop_flat_map(|name| {
            let [config, weights] = ["adapter_config.json", "adapter_model.safetensors"]
                .map(|file| case(&format!("{name}/{file}")));
            prop_oneof![
                (damaged(config.clone()), Just(weights.clone())),
                (Just(config), damaged(weights)),
            ]
        }),
    ) {
        readers::adapter(&config, &weights);
    }

    #[test]
    fn other_adapters(
        config in any_adapter()
            .prop_flat_map(|name| changed_object(&text(&format!("{name}/adapter_config.json")))),
        weights in tensors(OF_ADAPTER, &[("format", "pt")]),
    ) {
        readers::adapter(&config, &weights);
    }

    #[test]
    fn blocks(bytes in prop_oneof![tensors(OF_BLOCKS, BLOCKS), damaged(whole_blocks())]) {
        readers::losia_blocks(&bytes);
    }

    /// Any other bit and any missing end of any file is noticed.
    #[test]
    fn damaged_run_checkpoints(file in 0..3_usize, change in any::<u64>(), cut: bool) {
        let mut files = run_files();
        let bytes = &mut files[file].1;
        let at = change as usize % bytes.len();
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1 << (change >> 61),
        }
        prop_assert!(!run_checkpoint(&files));
    }

    #[test]
    fn manifests(json in prop_oneof![
        changed_object(&manifest()),
        damaged(manifest().into_bytes()),
        select(&["..", "/", "", "state.safetensors/", "\0"][..]).prop_map(|name| {
            let mut json: Value = serde_json::from_str(&manifest()).unwrap();
            json["files"] = json!({ name: digest() });
            json.to_string().into_bytes()
        }),
    ]) {
        readers::manifest(&json);
    }
}
