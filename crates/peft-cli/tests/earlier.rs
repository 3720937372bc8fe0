//! What an earlier run left is replaced only by a run that was accepted.

mod common;

use std::fs;

use common::Fixture;

/// A finished run in `run/`, trained with `settings` on top of the fixture's.
fn trained(settings: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    fixture.done(&[&["train", "run.toml", "val_set_size=0"][..], settings].concat());
    fixture
}

#[test]
fn a_refused_run_removes_nothing() {
    let fixture = trained(&["save_steps=2", "save_total_limit=0"]);
    let config = fs::read_to_string(fixture.path("run.toml")).unwrap();
    fs::write(fixture.path("other.toml"), config.replace("period = 1\n", "")).unwrap();
    let other = ["train", "other.toml", "overwrite_output_dir=true", "method=pissa"];
    let ran = fixture.run(&[&other[..], &["lora_r=500"]].concat());
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(fixture.path("run/checkpoint-2/manifest.json").exists());
    assert!(fixture.path("run/final/model.safetensors").exists());
}

#[test]
fn a_plan_says_what_becomes_of_an_earlier_run() {
    let fixture = trained(&["save_steps=0"]);
    let plan = |settings: &[&str]| {
        fixture.run(&[&["train", "run.toml", "--dry-run", "val_set_size=0"], settings].concat())
    };
    let refused = [
        (&["output_dir="][..], "`output_dir` is empty"),
        (&["overwrite_output_dir=true", "base_model=run/final"], "is among what this run would"),
        (&["output_dir=run"], "holds an earlier run"),
    ];
    for (settings, expected) in refused {
        let ran = plan(settings);
        assert_eq!(ran.code, 2, "{settings:?}: {}", ran.stdout);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    fixture.done(&["train", "run.toml", "val_set_size=0", "output_dir=other"]);
    let of_other = "resume_from_checkpoint=other/checkpoint-6";
    for settings in [&["overwrite_output_dir=true"][..], &["overwrite_output_dir=true", of_other]] {
        let ran = plan(settings);
        assert!(
            ran.code == 0 && ran.stdout.contains("an earlier run is removed"),
            "{}",
            ran.stdout
        );
    }
    assert!(fixture.path("run/final/model.safetensors").exists());
}

#[test]
fn a_finished_run_is_not_trained_again() {
    let fixture = trained(&["save_steps=0"]);
    let model = || fs::read(fixture.path("run/final/model.safetensors")).unwrap();
    let before = model();
    let ran = fixture.done(&["resume", "run"]);
    assert!(ran.stdout.contains("trained  6 steps in all"), "{}", ran.stdout);
    assert!(model() == before);
    fs::remove_dir_all(fixture.path("run/checkpoint-6")).unwrap();
    let ran = fixture.run(&["resume", "run"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("has ended and left no checkpoint"), "{}", ran.stderr);
    assert!(model() == before);
}

#[test]
fn a_checkpoint_of_another_run_is_refused_before_weights_load() {
    let fixture = trained(&["save_steps=2", "save_total_limit=0"]);
    let plan = ["train", "run.toml", "--dry-run", "val_set_size=0", "save_steps=2"];
    let plan = [&plan[..], &["resume_from_checkpoint=run/checkpoint-2"]].concat();
    fixture.done(&plan);
    let ran = fixture.run(&[&plan[..], &["seed=9"]].concat());
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("`seed` = 0, but this run has 9"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: resume with the settings"), "{}", ran.stderr);
}

#[test]
fn a_checkpoint_that_was_being_replaced_is_found() {
    let fixture = trained(&["save_steps=6"]);
    let staged = fixture.path("run/.staged-x/old");
    fs::create_dir_all(&staged).unwrap();
    fs::rename(fixture.path("run/checkpoint-6"), staged.join("checkpoint-6")).unwrap();
    let ran = fixture.done(&["resume", "run"]);
    assert!(ran.stdout.contains("checkpoint-6"), "{}", ran.stdout);
    assert!(fixture.path("run/checkpoint-6/manifest.json").exists());
    assert!(!fixture.path("run/.staged-x").exists());
}

#[test]
fn damaged_checkpoints_are_named_and_kept() {
    let fixture = trained(&["save_steps=5"]);
    let state = fixture.path("run/checkpoint-5/state.safetensors");
    for folder in fs::read_dir(fixture.path("run")).unwrap() {
        let state = folder.unwrap().path().join("state.safetensors");
        if state.exists() {
            fs::write(state, b"damaged").unwrap();
        }
    }
    let ran = fixture.run(&["resume", "run"]);
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    for checkpoint in ["checkpoint-5/state.safetensors", "checkpoint-6/state.safetensors"] {
        assert!(ran.stderr.contains(checkpoint), "{}", ran.stderr);
    }
    assert!(state.exists());
}
