//! What a run has trained survives a disk that is full when it ends: here one that takes no large file.
#![cfg(unix)]

mod common;

use std::fs;
use std::process::Command;

use common::{Fixture, Ran, repository};
use serde_json::Value;

/// Trains where no file may have more than `blocks`, of 512 bytes or, in some shells, 1024.
fn train(fixture: &Fixture, blocks: u32, settings: &[&str]) -> Ran {
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_burn-peft"), "train", "run.toml"])
        .args(settings)
        .current_dir(fixture.path("."))
        .output();
    Ran::new(output.unwrap())
}

fn report(fixture: &Fixture) -> Value {
    serde_json::from_slice(&fs::read(fixture.path("run/run.json")).unwrap()).unwrap()
}

/// A run of LoRA, whose checkpoint and adapter are small.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let config = fs::read_to_string(fixture.path("run.toml")).unwrap();
    fs::write(fixture.path("run.toml"), config.replace("period = 1\n", "")).unwrap();
    fixture
}

#[test]
fn a_model_that_does_not_fit_is_written_by_a_resume() {
    let fixture = fixture();
    let settings = ["method=lora", "lora_r=2", "save_steps=0"];
    let ran = train(&fixture, 4000, &settings);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    for part in ["error: the run is done, but", "model.safetensors", "checkpoint-5"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("hint: free disk space"), "{}", ran.stderr);
    assert_eq!(report(&fixture)["status"], "failed");
    assert!(fixture.path("run/adapter/adapter_model.safetensors").exists());
    assert!(!fixture.path("run/final").exists());

    let ran = fixture.done(&["resume", "run"]);
    assert!(ran.stdout.contains("checkpoint-5"), "{}", ran.stdout);
    assert_eq!(report(&fixture)["status"], "completed");
    let model = |run: &str| fs::read(fixture.path(run).join("final/model.safetensors")).unwrap();
    fixture.done(&[&["train", "run.toml", "output_dir=other"][..], &settings].concat());
    assert!(model("run") == model("other"), "as if the disk had never been full");
}

/// In bf16, the model is half of what the optimizer knows of it.
#[test]
fn a_checkpoint_that_does_not_fit_keeps_no_result_from_being_written() {
    let fixture = fixture();
    let settings = ["method=full", "dtype=bf16", "max_steps=1", "val_set_size=0"];
    let ran = train(&fixture, 9000, &[&settings[..], &["save_steps=0"]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let note = "the checkpoint after step 1 was not written";
    assert!(ran.stdout.contains(&format!("note     {note}")), "{}", ran.stdout);
    let report = report(&fixture);
    assert_eq!((&report["status"], &report["checkpoint"]), (&"completed".into(), &Value::Null));
    assert!(report["notes"].as_array().unwrap().iter().any(|n| n.as_str().unwrap().contains(note)));
    fixture.done(&["inspect", "run/final"]);
}

#[test]
fn a_merge_clears_away_what_a_killed_one_left() {
    let fixture = Fixture::new();
    let case = |name: &str| repository().join("tests/cases").join(name).display().to_string();
    let half = fixture.path("merged/.staged-x/new/model.safetensors");
    fs::create_dir_all(half.parent().unwrap()).unwrap();
    fs::write(half, "half").unwrap();
    let merge = ["--base", &case("llama_tiny"), "--adapter", &case("lora_tiny")];
    fixture.done(&[&["merge"][..], &merge, &["--out", "merged/model"]].concat());
    let left = fs::read_dir(fixture.path("merged")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["model"]);
}
