//! A run from its config file to the merged model that answers.

mod common;

use std::fs;

use common::Fixture;
use serde_json::Value;

fn report(fixture: &Fixture, run: &str) -> Value {
    let path = fixture.path(run).join("run.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let fixture = Fixture::new();
    let ran = fixture.done(&["train", "run.toml", "--dry-run"]);
    for part in ["losia-pro", "35 weights: 5 q_proj", "5: 20 samples / (4 × 1), 1 epoch", "memory"]
    {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(!fixture.path("run").exists());
}

#[test]
fn what_is_trained_can_be_resumed_merged_inspected_and_asked() {
    let fixture = Fixture::new();
    let ran = fixture.done(&["train", "run.toml", "save_steps=2", "eval_max_new_tokens=4"]);
    assert!(ran.stdout.contains("before   exact match"), "{}", ran.stdout);
    let first = report(&fixture, "run");
    assert_eq!((&first["status"], &first["steps"]), (&"completed".into(), &5.into()));
    assert_eq!(first["config"]["method"], "losia-pro");
    assert!(first["before"]["loss"].is_number() && first["after"]["accuracy"].is_number());
    for file in ["config.toml", "metrics.jsonl", "report.md", "adapter/losia_blocks.safetensors"] {
        assert!(fixture.path("run").join(file).exists(), "{file}");
    }

    // As if it had been killed after the fourth step, and somewhere else.
    fs::rename(fixture.path("run"), fixture.path("moved")).unwrap();
    fs::remove_dir_all(fixture.path("moved/checkpoint-5")).unwrap();
    let trained = fs::read(fixture.path("moved/final/model.safetensors")).unwrap();
    fs::remove_dir_all(fixture.path("moved/final")).unwrap();
    let ran = fixture.done(&["resume", "moved"]);
    assert!(ran.stdout.contains("checkpoint-4"), "{}", ran.stdout);
    assert_eq!(report(&fixture, "moved")["after"], first["after"]);
    let again = fs::read(fixture.path("moved/final/model.safetensors")).unwrap();
    assert!(again == trained, "a resumed run ends with the same bits");

    let base = ["--base", "model", "--adapter", "moved/adapter", "--out", "merged"];
    fixture.done(&[&["merge"][..], &base].concat());
    let inspected = fixture.done(&["inspect", "moved"]).stdout;
    let parts = [
        "completed after 5 steps",
        "checkpoint-4: whole",
        "LoSiA, ",
        "final: lm_head",
        "adapter: model",
    ];
    for part in parts {
        assert!(inspected.contains(part), "{part}: {inspected}");
    }
    for path in ["merged", "moved/final"] {
        fixture.done(&["inspect", path]);
    }
    for path in ["moved", "moved/adapter", "moved/checkpoint-4"] {
        fixture.done(&["inspect", path, "--base", "model"]);
        fixture.done(&["inspect", path, "--config", "run.toml"]);
    }
    let ask = |model: &str, more: &[&str]| {
        let prompt = ["### Response:\n", "--max-new-tokens", "6", "--device", "flex"];
        fixture.done(&[&["generate", "--model", model][..], more, &prompt].concat()).stdout
    };
    let answer = ask("moved/final", &[]);
    assert_eq!(answer, ask("model", &["--adapter", "moved/adapter"]), "merged and adapted agree");
    let drawn = |seed| ask("merged", &["--temperature", "2", "--top-p", "0.9", "--seed", seed]);
    assert_eq!(drawn("1"), drawn("1"));
}

#[test]
fn low_rank_adapters_are_merged_and_asked_alike() {
    let fixture = Fixture::new();
    let settings = ["method=lora", "lora_r=2", "rank_pattern={ q_proj = 4 }", "learning_rate=0.01"];
    let ran = fixture.done(&[&["train", "run.toml"][..], &settings].concat());
    let note = "note     left out of run.toml, because lora has no such setting or value: `period`";
    assert!(ran.stdout.contains(note), "{}", ran.stdout);
    fixture.done(&["merge", "--base", "model", "--adapter", "run/adapter", "--out", "merged"]);
    let ask = |model: &[&str]| {
        let prompt = ["### Response:\n", "--max-new-tokens", "6"];
        fixture.done(&[&["generate", "--model"][..], model, &prompt].concat()).stdout
    };
    assert_eq!(ask(&["merged"]), ask(&["model", "--adapter", "run/adapter"]));
    let inspected = fixture.done(&["inspect", "run/adapter", "--base", "model"]).stdout;
    assert!(inspected.contains("LoRA of rank 2, alpha 8, 35 modules"), "{inspected}");
}

/// Whatever was trained, and however: what a run made is also what its last checkpoint makes.
#[test]
fn checkpoints_are_merged_and_asked_like_what_the_run_made() {
    for method in ["losia-pro", "pissa", "adalora", "full"] {
        let fixture = Fixture::new();
        let settings = ["max_steps=2", "save_steps=1", "dtype=bf16", "learning_rate=0.01"];
        let method = format!("method={method}");
        fixture.done(&[&["train", "run.toml", &method][..], &settings].concat());
        let checkpoint = ["--adapter", "run/checkpoint-2"];
        fixture.done(&[&["merge", "--base", "model", "--out", "merged"][..], &checkpoint].concat());
        let model = |dir: &str| fs::read(fixture.path(dir).join("model.safetensors")).unwrap();
        assert!(model("merged") == model("run/final"), "{method}");
        let ask = |model: &[&str]| {
            let prompt = ["### Response:\n", "--max-new-tokens", "6"];
            fixture.done(&[&["generate", "--model"][..], model, &prompt].concat()).stdout
        };
        assert_eq!(ask(&["run/final"]), ask(&[&["model"][..], &checkpoint].concat()), "{method}");
        let inspected = fixture.done(&["inspect", "run/checkpoint-2"]).stdout;
        for part in ["trains     ", "fits       ", "model.layers.*.", "F32 ["] {
            assert!(inspected.contains(part), "{part}: {inspected}");
        }
    }
}

#[test]
fn adalora_before_its_last_cut_is_not_taken_for_more() {
    let fixture = Fixture::new();
    let settings = ["method=adalora", "init_r=2", "target_r=2", "max_steps=2", "save_steps=1"];
    fixture.done(&[&["train", "run.toml"][..], &settings].concat());
    let asked = |adapter: &str| {
        let ask = ["generate", "--model", "model", "Sum: ", "--max-new-tokens", "2", "--adapter"];
        let ran = fixture.done(&[&ask[..], &[adapter]].concat());
        ran.stderr.contains("note: AdaLoRA has not made its last cut")
    };
    assert!(asked("run/checkpoint-1"));
    assert!(!asked("run/checkpoint-2") && !asked("run/adapter"));
    let inspected = || fixture.done(&["inspect", "run/adapter"]).stdout;
    assert!(inspected().contains("AdaLoRA, 70 of 70 ranks, "), "{}", inspected());

    // As PEFT writes it before a cut.
    let path = fixture.path("run/adapter/adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["rank_pattern"] = Value::Null;
    fs::write(path, config.to_string()).unwrap();
    assert!(asked("run/adapter"));
    assert!(inspected().contains("ranks undecided, 2 for each module"), "{}", inspected());
}

#[test]
fn a_checkpoint_is_of_its_run_and_its_base() {
    let fixture = Fixture::new();
    fixture.done(&["train", "run.toml", "max_steps=1", "modules_to_save=['norm']"]);
    assert!(!fixture.path("run/adapter").exists());
    let merge = |base: &str, adapter: &str| {
        let ran = fixture.run(&["merge", "--base", base, "--adapter", adapter, "--out", "merged"]);
        assert_eq!(ran.code, 2, "{}", ran.stdout);
        ran.stderr
    };
    let other = merge("run/final", "run/checkpoint-1");
    assert!(other.contains("belongs to another base than `run/final`: other "), "{other}");
    let config = fs::read_to_string(fixture.path("run/config.toml")).unwrap();
    fs::write(fixture.path("run/config.toml"), config.replace("seed = 0", "seed = 3")).unwrap();
    let other = merge("model", "run/checkpoint-1");
    assert!(other.contains("`seed` = 0, but this run has 3"), "{other}");
    fs::remove_file(fixture.path("run/config.toml")).unwrap();
    let gone = merge("model", "run/checkpoint-1");
    assert!(gone.contains("config.toml"), "{gone}");
}

#[test]
fn a_plan_notes_what_may_be_missed() {
    let fixture = Fixture::new();
    let notes = |settings: &[&str]| {
        let plan =
            fixture.done(&[&["train", "run.toml", "--dry-run"][..], settings].concat()).stdout;
        plan.lines().filter(|line| line.starts_with("note ")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(notes(&[]), "");
    let none = "note     `val_set_size` = 0.01 of 24 samples is none: nothing is measured";
    assert_eq!(notes(&["val_set_size=0.01"]), none);
    assert!(notes(&["modules_to_save=['norm']"]).contains("no `adapter/`"));
}

#[test]
fn a_run_that_is_there_is_not_overwritten() {
    let fixture = Fixture::new();
    fixture.done(&["train", "run.toml", "max_steps=1"]);
    let again = fixture.run(&["train", "run.toml", "max_steps=1"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("`output_dir` holds an earlier run"), "{}", again.stderr);
    fixture.done(&["train", "run.toml", "max_steps=1", "overwrite_output_dir=true"]);
}

#[test]
fn several_devices_share_a_run() {
    let fixture = Fixture::new();
    let devices = ["train", "run.toml", "device=['flex', 'flex']", "micro_batch_size=2"];
    let ran = fixture.done(&devices);
    assert!(ran.stdout.contains("5: 20 samples / (2 × 1 × 2 devices)"), "{}", ran.stdout);
    assert_eq!(report(&fixture, "run")["steps"], 5);
}

#[test]
fn a_run_that_diverges_fails_with_code_1() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["train", "run.toml", "learning_rate=1e38", "num_epochs=4"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert_eq!(report(&fixture, "run")["status"], "failed");
}

#[test]
fn inspect_says_what_a_method_would_take() {
    let fixture = Fixture::new();
    let ran = fixture.done(&["inspect", "model", "--config", "run.toml"]);
    assert!(ran.stdout.contains("losia-pro: 35 weights: 5 q_proj"), "{}", ran.stdout);
    assert!(ran.stdout.contains("model.layers.*.mlp.up_proj.weight"), "{}", ran.stdout);
    let plain = fixture.done(&["inspect", "model"]).stdout;
    assert!(plain.contains("all-linear is 35 weights"), "{plain}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_burn-peft"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
