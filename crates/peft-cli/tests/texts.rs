//! Every help text and error of the command, as a snapshot.

mod common;

use common::Fixture;

#[test]
fn help_texts() {
    let fixture = Fixture::new();
    for command in ["", "train", "resume", "generate", "merge", "inspect", "schema", "completions"]
    {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = fixture.done(&args).stdout;
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{command}: {help}");
        let name = format!("help {command}");
        insta::assert_snapshot!(name.trim().replace(' ', "_"), help);
    }
}

/// Wrong input, told with exit code 2.
#[test]
fn errors() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("several.toml"), "method = \"lora\"\nperiod = 9\nlr = 1\n")
        .unwrap();
    std::fs::create_dir(fixture.path("empty")).unwrap();
    let cases: [&[&str]; 30] = [
        &["train", "absent.toml"],
        &["train", "several.toml"],
        &["train", "run.toml", "peroid=5"],
        &["train", "run.toml", "period=five"],
        &["train", "run.toml", "lora_r=8"],
        &["train", "run.toml", "method=lora", "period=2"],
        &["train", "run.toml", "use_dora=true"],
        &["train", "run.toml", "base_model=absent"],
        &["train", "run.toml", "base_model=meta-llama/Llama-2-7b-hf"],
        &["train", "run.toml", "target_modules=['query']"],
        &["train", "run.toml", "target_modules=['q_proj', 'v_porj']"],
        &["train", "run.toml", "datasets=[{ path = 'data.jsonl', wieght = 2 }]"],
        &["train", "run.toml", "val_set_size=0.01", "eval_steps=2"],
        &["train", "run.toml", "datasets=[{ path = 'absent.jsonl' }]"],
        &["train", "run.toml", "datasets=[]"],
        &["train", "run.toml", "datasets=[{ path = 'data.jsonl', type = 'alpacca' }]"],
        &["train", "run.toml", "lr_scheduler=linear"],
        &["train", "run.toml", "rank_factor=2"],
        &["train", "run.toml", "max_steps=0"],
        &["train", "run.toml", "output_dir="],
        &["train", "run.toml", "resume_from_checkpoint=absent"],
        &["resume", "absent"],
        &["resume", "model"],
        &["generate", "--model", "model", "--temperature=-1", "x"],
        &["generate", "--model", "absent", "x"],
        &["merge", "--base", "model", "--adapter", "absent", "--out", "out"],
        &["merge", "--base", "model", "--adapter", "absent", "--out", "model"],
        &["inspect", "empty"],
        &["inspect", "model", "--base", "absent"],
        &["inspect", "model", "--device", "toaster"],
    ];
    let mut texts = String::new();
    for args in cases {
        let ran = fixture.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        texts += &format!("$ burn-peft {}\n{}\n", args.join(" "), ran.stderr);
    }
    insta::assert_snapshot!(texts);
}

/// The reader of Parquet files panics at this one.
#[test]
fn a_caught_panic_is_told_as_an_error_only() {
    let fixture = Fixture::new();
    let damaged = include_bytes!("inputs/damaged.parquet");
    std::fs::write(fixture.path("damaged.parquet"), damaged).unwrap();
    let ran = fixture.run(&["train", "run.toml", "datasets=[{ path = 'damaged.parquet' }]"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stderr, @"
    error: command line: `damaged.parquet` cannot be read: its parts contradict each other
    hint: download or write the file again
    ");
}

#[test]
fn the_schema_is_json() {
    let schema = Fixture::new().done(&["schema"]).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["deltaT"]["minimum"], 1);
}

#[test]
fn completions_know_the_commands() {
    let fixture = Fixture::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = fixture.done(&["completions", shell]).stdout;
        assert!(script.contains("inspect") && script.contains("dry-run"), "{shell}");
    }
}
