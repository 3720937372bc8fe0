//! `inspect` refuses whatever is broken, missing or does not fit, with exit code 2, and names it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Fixture, copy_dir, repository};
use serde_json::{Value, json};

/// What is done to a folder, and what must be named.
type Case = (&'static str, fn(&Path), &'static [&'static str]);

fn check(fixture: &Fixture, original: &Path, more: &[&str], cases: &[Case]) {
    for (what, break_it, names) in cases {
        let broken = fixture.path("broken");
        copy_dir(original, &broken);
        break_it(&broken);
        let ran = fixture.run(&[&["inspect", "broken"][..], more].concat());
        assert_eq!(ran.code, 2, "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{what}: {}", ran.stderr);
        for name in *names {
            assert!(ran.stderr.contains(name), "{what}: {name} is not named in {}", ran.stderr);
        }
        fs::remove_dir_all(&broken).unwrap();
    }
}

#[test]
fn broken_models() {
    let fixture = Fixture::new();
    let cases: [Case; 17] = [
        ("no weights", |dir| remove(dir, "model.safetensors"), &["model.safetensors"]),
        ("cut weights", |dir| cut(dir, "model.safetensors"), &["model.safetensors", "complete"]),
        ("a lying header", |dir| lie(dir, "model.safetensors"), &["model.safetensors"]),
        ("no bytes at all", |dir| write(dir, "model.safetensors", ""), &["model.safetensors"]),
        ("infinite weights", |dir| infinite(dir), &["is not finite"]),
        ("no configuration", |dir| remove(dir, "config.json"), &["config.json"]),
        ("a cut configuration", |dir| cut(dir, "config.json"), &["config.json", "JSON"]),
        (
            "an impossible configuration",
            |dir| set(dir, "config.json", "num_key_value_heads", json!(3)),
            &["config.json", "num_key_value_heads", "3"],
        ),
        (
            "an unknown family",
            |dir| set(dir, "config.json", "model_type", json!("mamba")),
            &["config.json", "model_type", "mamba"],
        ),
        (
            "a wrong shape",
            |dir| set(dir, "config.json", "intermediate_size", json!(64)),
            &["mlp.down_proj", "[160, 432]", "[160, 64]"],
        ),
        (
            "missing tensors",
            |dir| set(dir, "config.json", "num_hidden_layers", json!(6)),
            &["missing", "model.layers.5."],
        ),
        (
            "unexpected tensors",
            |dir| set(dir, "config.json", "num_hidden_layers", json!(4)),
            &["unexpected", "model.layers.4."],
        ),
        ("a missing shard", shard, &["model-00002-of-00002.safetensors", "lm_head.weight"]),
        ("no tokenizer", |dir| remove(dir, "tokenizer.json"), &["tokenizer.json"]),
        ("a cut tokenizer", |dir| cut(dir, "tokenizer.json"), &["tokenizer.json"]),
        (
            "an unknown special token",
            |dir| set(dir, "tokenizer_config.json", "eos_token", json!("<nothing>")),
            &["tokenizer_config.json", "eos_token"],
        ),
        (
            "a broken chat template",
            |dir| write(dir, "chat_template.jinja", "{% for %}"),
            &["chat_template.jinja"],
        ),
    ];
    check(&fixture, &fixture.path("model"), &[], &cases);
}

#[test]
fn broken_adapters() {
    let fixture = Fixture::new();
    let adapter = repository().join("tests/cases/lora_tiny");
    let base = repository().join("tests/cases/llama_tiny").display().to_string();
    fixture.done(&["inspect", &adapter.display().to_string(), "--base", &base]);
    let cases: [Case; 9] = [
        (
            "no tensors",
            |dir| remove(dir, "adapter_model.safetensors"),
            &["adapter_model.safetensors"],
        ),
        (
            "cut tensors",
            |dir| cut(dir, "adapter_model.safetensors"),
            &["adapter_model.safetensors"],
        ),
        (
            "a lying header",
            |dir| lie(dir, "adapter_model.safetensors"),
            &["adapter_model.safetensors"],
        ),
        ("no configuration", |dir| remove(dir, "adapter_config.json"), &["adapter_config.json"]),
        ("a cut configuration", |dir| cut(dir, "adapter_config.json"), &["adapter_config.json"]),
        (
            "another rank",
            |dir| set(dir, "adapter_config.json", "r", json!(5)),
            &["adapter_model.safetensors", "lora_A", "[4,", "[5, in]"],
        ),
        (
            "no rank",
            |dir| set(dir, "adapter_config.json", "r", json!(0)),
            &["adapter_config.json", "`r` is 0"],
        ),
        (
            "another method",
            |dir| set(dir, "adapter_config.json", "peft_type", json!("IA3")),
            &["adapter_config.json", "peft_type", "IA3"],
        ),
        (
            "a pickled adapter",
            |dir| {
                let weights = dir.join("adapter_model.safetensors");
                fs::rename(weights, dir.join("adapter_model.bin")).unwrap();
            },
            &["adapter_model.bin", "pickled"],
        ),
    ];
    check(&fixture, &adapter, &["--base", &base], &cases);

    let other = fixture.run(&["inspect", &adapter.display().to_string(), "--base", "model"]);
    assert_eq!(other.code, 2, "{}", other.stdout);
    for name in ["lora_tiny", "does not fit the base model", "model.layers."] {
        assert!(other.stderr.contains(name), "{name}: {}", other.stderr);
    }
}

#[test]
fn broken_checkpoints_and_runs() {
    let fixture = Fixture::new();
    fixture.done(&["train", "run.toml", "save_steps=2", "max_steps=2"]);
    let checkpoint = fixture.path("run/checkpoint-2");
    let cases: [Case; 7] = [
        ("a manifest of nothing", list_nothing, &["manifest.json", "lists no `state.safetensors`"]),
        (
            "a changed state",
            |dir| flip(dir, "state.safetensors"),
            &["state.safetensors", "SHA-256"],
        ),
        ("a cut state", |dir| cut(dir, "state.safetensors"), &["state.safetensors", "bytes"]),
        ("no state", |dir| remove(dir, "state.safetensors"), &["state.safetensors", "missing"]),
        ("a changed manifest", |dir| flip(dir, "manifest.json"), &["manifest.json", "damaged"]),
        ("no manifest", |dir| remove(dir, "manifest.json"), &["manifest.json", "never finished"]),
        (
            "no checksum",
            |dir| remove(dir, "manifest.sha256"),
            &["manifest.sha256", "never finished"],
        ),
    ];
    check(&fixture, &checkpoint, &[], &cases);
    let of_run: [Case; 13] = [
        ("no configuration", |dir| remove(dir, "config.toml"), &["config.toml"]),
        ("no report", |dir| remove(dir, "run.json"), &["run.json"]),
        ("no log", |dir| remove(dir, "metrics.jsonl"), &["metrics.jsonl"]),
        (
            "another configuration",
            |dir| {
                let config = fs::read_to_string(dir.join("config.toml")).unwrap();
                write(dir, "config.toml", &config.replace("seed = 0", "seed = 3"));
            },
            &["checkpoint-2", "`seed` = 0, but this run has 3"],
        ),
        (
            "a checkpoint by another name",
            |dir| fs::rename(dir.join("checkpoint-2"), dir.join("checkpoint-1")).unwrap(),
            &["checkpoint-1", "is of step 2"],
        ),
        (
            "no result",
            |dir| fs::remove_dir_all(dir.join("final")).unwrap(),
            &["completed", "`final` is missing"],
        ),
        (
            "no adapter",
            |dir| fs::remove_dir_all(dir.join("adapter")).unwrap(),
            &["completed", "`adapter` is missing"],
        ),
        (
            "a damaged checkpoint",
            |dir| flip(&dir.join("checkpoint-2"), "state.safetensors"),
            &["checkpoint-2"],
        ),
        (
            "a damaged result",
            |dir| cut(&dir.join("final"), "model.safetensors"),
            &["final", "model.safetensors"],
        ),
        (
            "a damaged adapter",
            |dir| cut(&dir.join("adapter"), "losia_blocks.safetensors"),
            &["losia_blocks"],
        ),
        ("a damaged report", |dir| cut(dir, "run.json"), &["run.json"]),
        ("a damaged log", |dir| write(dir, "metrics.jsonl", "{}\n"), &["metrics.jsonl:1", "step"]),
        (
            "a damaged configuration",
            |dir| write(dir, "config.toml", "peroid = 3"),
            &["config.toml:1", "period"],
        ),
    ];
    check(&fixture, &fixture.path("run"), &[], &of_run);

    let wrong_base = ["--config", "other.toml"];
    let config = fs::read_to_string(fixture.path("run.toml")).unwrap();
    let config = config.replace("base_model = \"model\"", "base_model = \"run/final\"");
    fs::write(fixture.path("other.toml"), config).unwrap();
    for path in ["run/checkpoint-2", "run"] {
        let ran = fixture.run(&[&["inspect", path][..], &wrong_base].concat());
        assert_eq!(ran.code, 2, "{}", ran.stdout);
        assert!(ran.stderr.contains("another base than `run/final`"), "{}", ran.stderr);
    }
    fs::rename(fixture.path("model"), fixture.path("moved")).unwrap();
    for path in ["run/checkpoint-2", "run"] {
        let inspected = fixture.done(&["inspect", path]).stdout;
        assert!(inspected.contains("model is gone, and nothing was compared"), "{inspected}");
    }
    fs::rename(fixture.path("moved"), fixture.path("model")).unwrap();
    let unknown = fixture.path("run/checkpoint-9");
    copy_dir(&checkpoint, &unknown);
    let manifest = fs::read(unknown.join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["run"]["base"] = Value::Null;
    set_in_manifest(&unknown, "run", manifest["run"].take());
    let inspected = fixture.done(&["inspect", "run/checkpoint-9", "--base", "model"]).stdout;
    assert!(inspected.contains("not compared: the checkpoint does not say"), "{inspected}");
    assert!(!inspected.contains("fits "), "{inspected}");
    fs::remove_dir_all(unknown).unwrap();

    set(&fixture.path("model"), "config.json", "initializer_range", json!(0.5));
    let ran = fixture.run(&["inspect", "run/checkpoint-2", "--base", "model"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("another base than `model`: other config.json"), "{}", ran.stderr);
    let ran = fixture.run(&["resume", "run"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("another base model: other config.json"), "{}", ran.stderr);
}

fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).unwrap();
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

fn change(dir: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path: PathBuf = dir.join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn cut(dir: &Path, name: &str) {
    change(dir, name, |bytes| bytes.truncate(bytes.len() / 2));
}

fn list_nothing(dir: &Path) {
    set_in_manifest(dir, "files", json!({}));
}

/// Another manifest, with the checksum it should have.
fn set_in_manifest(dir: &Path, key: &str, value: Value) {
    set(dir, "manifest.json", key, value);
    let sum = Command::new("sha256sum").arg("manifest.json").current_dir(dir).output().unwrap();
    fs::write(dir.join("manifest.sha256"), sum.stdout).unwrap();
}

/// One other bit, in the middle.
fn flip(dir: &Path, name: &str) {
    change(dir, name, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

/// A header that claims to be longer than the file.
fn lie(dir: &Path, name: &str) {
    change(dir, name, |bytes| bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes()));
}

/// The last bf16 value of the file becomes infinite.
fn infinite(dir: &Path) {
    change(dir, "model.safetensors", |bytes| {
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&0x7f80_u16.to_le_bytes());
    });
}

fn set(dir: &Path, name: &str, key: &str, value: Value) {
    let path = dir.join(name);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json[key] = value;
    fs::write(path, json.to_string()).unwrap();
}

fn shard(dir: &Path) {
    let first = "model-00001-of-00002.safetensors";
    fs::rename(dir.join("model.safetensors"), dir.join(first)).unwrap();
    let index = json!({ "weight_map": {
        "model.norm.weight": first, "lm_head.weight": "model-00002-of-00002.safetensors",
    } });
    write(dir, "model.safetensors.index.json", &index.to_string());
}
