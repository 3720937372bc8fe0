//! The first signal saves and stops, the second one stops at once.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::Fixture;

/// A run that takes long, once its first step is done.
fn running(fixture: &Fixture) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_burn-peft"))
        .args(["train", "run.toml", "num_epochs=5000", "logging_steps=1", "--plain"])
        .current_dir(fixture.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.as_mut().unwrap());
    let started = stdout.lines().map_while(Result::ok).any(|line| line.contains("step 2/"));
    assert!(started, "the run reports its steps");
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn the_first_signal_leaves_a_checkpoint_to_go_on_from() {
    for name in ["-INT", "-TERM"] {
        let fixture = Fixture::new();
        let child = running(&fixture);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let report = std::fs::read_to_string(fixture.path("run/run.json")).unwrap();
        assert!(report.contains("\"interrupted\""), "{report}");
        assert!(!fixture.path("run/final").exists());
        fixture.done(&["inspect", "run"]);
    }
}
