//! The examples of the help texts do what they say.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Fixture, copy_dir, repository};

/// Makes a run of an example short, and one for this machine.
const SHORT: &str = "device=flex max_steps=1 eval_max_new_tokens=0";

/// A folder with what the examples name.
fn workplace() -> Fixture {
    let fixture = Fixture::new();
    let assets = repository().join("assets");
    copy_dir(&repository().join("configs"), &fixture.path("configs"));
    for model in ["assets/tiny-llama", "models/Llama-2-7b-hf"] {
        copy_dir(&assets.join("tiny-llama"), &fixture.path(model));
    }
    for folder in ["assets/tasks", "meta-math/MetaMathQA", ".zfunc"] {
        fs::create_dir_all(fixture.path(folder)).unwrap();
    }
    fs::create_dir_all(fixture.path(".local/share/bash-completion/completions")).unwrap();
    for tasks in ["assets/tasks/train.jsonl", "assets/tasks/held_back.jsonl"] {
        let lines = fs::read_to_string(repository().join(tasks)).unwrap();
        let few: Vec<&str> = lines.lines().take(32).collect();
        fs::write(fixture.path(tasks), few.join("\n")).unwrap();
    }
    let questions = "{\"query\": \"1 + 1?\", \"response\": \"2\"}\n".repeat(600);
    fs::write(fixture.path("meta-math/MetaMathQA/train.jsonl"), questions).unwrap();
    fs::write(fixture.path("prompt.txt"), "### Response:\n").unwrap();
    fixture
}

/// The commands of a help text, lines that go on joined, without what stands beside them.
fn examples(help: &str) -> Vec<String> {
    let text = help.replace("\\\n", "");
    let commands = text.lines().filter(|line| line.starts_with("  burn-peft "));
    let command = |line: &str| line.trim_start().split("    ").next().unwrap_or("").to_string();
    commands.map(command).collect()
}

fn run(fixture: &Fixture, example: &str) {
    let exe = Path::new(env!("CARGO_BIN_EXE_burn-peft")).parent().unwrap();
    let path = format!("{}:{}", exe.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-c", example]).env("PATH", path).env("HOME", fixture.path("."));
    let output = bash.current_dir(fixture.path(".")).output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{example}\n{stdout}\n{stderr}");
}

#[test]
fn every_example_works() {
    let fixture = workplace();
    let mut count = 0;
    for command in ["", "train", "resume", "generate", "merge", "inspect", "completions"] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        for mut example in examples(&fixture.done(&args).stdout) {
            if example.starts_with("burn-peft train ") {
                example = format!("{example} {SHORT}");
            }
            run(&fixture, &example);
            count += 1;
        }
        // The short run ends where its checkpoints begin.
        let checkpoint = fixture.path("runs/tiny/checkpoint-300");
        if fixture.path("runs/tiny/checkpoint-1").exists() && !checkpoint.exists() {
            copy_dir(&fixture.path("runs/tiny/checkpoint-1"), &checkpoint);
        }
    }
    assert!(count > 10, "{count} examples");
}
