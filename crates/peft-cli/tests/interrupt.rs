//! The first signal saves and stops, the second one stops at once.
#![cfg(target_os = "linux")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use common::Fixture;

/// More epochs than a test waits for, and a line for every step.
const LONG: [&str; 3] = ["num_epochs=5000", "logging_steps=1", "--plain"];

/// Steps that take longer than two signals.
const SLOW: [&str; 2] =
    ["datasets=[{ path = 'data.jsonl', weight = 100 }]", "micro_batch_size=200"];

/// Tests may themselves have been started to ignore signals, as in the background of a script.
const HEEDING: &str = "--default-signal=INT,TERM,HUP";

/// A run of `settings`, started by `words` before the command.
fn start(fixture: &Fixture, words: &[&str], settings: &[&str]) -> Child {
    let words = [words, &[env!("CARGO_BIN_EXE_burn-peft"), "train", "run.toml"], settings].concat();
    let mut command = Command::new("env");
    command.arg(HEEDING).args(words).current_dir(fixture.path("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A run that takes long, at its third step.
fn running(fixture: &Fixture, words: &[&str], settings: &[&str]) -> Child {
    let mut child = start(fixture, words, &[&LONG, settings].concat());
    wait_for(&mut child, "step 2/");
    child
}

/// Reads what the run prints up to `text`.
fn wait_for(child: &mut Child, text: &str) {
    let stdout = BufReader::new(child.stdout.as_mut().unwrap());
    assert!(stdout.lines().map_while(Result::ok).any(|line| line.contains(text)), "{text}");
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Its last words, which must be those of an interrupted run with a checkpoint.
fn interrupted(fixture: &Fixture, child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(report(fixture).contains("\"interrupted\""));
    assert!(!fixture.path("run/final").exists());
    assert!(fixture.done(&["inspect", "run"]).stdout.contains(": whole"));
    output
}

fn report(fixture: &Fixture) -> String {
    std::fs::read_to_string(fixture.path("run/run.json")).unwrap()
}

#[test]
fn the_first_signal_leaves_a_checkpoint_to_go_on_from() {
    for name in ["-INT", "-TERM", "-HUP"] {
        let fixture = Fixture::new();
        let child = running(&fixture, &[], &[]);
        signal(&child, name);
        let stderr = interrupted(&fixture, child).stderr;
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(stderr.starts_with("stopping after this step, with a checkpoint"), "{stderr}");
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let fixture = Fixture::new();
    let mut child = running(&fixture, &[], &SLOW);
    signal(&child, "-TERM");
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap(); // it was heard
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(report(&fixture).contains("\"running\""), "nothing was finished");
    let left = std::fs::read_dir(fixture.path("run")).unwrap().map(|file| file.unwrap().path());
    let is_checkpoint = |path: &Path| path.join("manifest.json").exists();
    assert!(!left.into_iter().any(|path| is_checkpoint(&path)));
}

#[test]
fn nohup_is_heeded() {
    let fixture = Fixture::new();
    let mut child = running(&fixture, &["nohup"], &[]);
    signal(&child, "-HUP");
    wait_for(&mut child, "step 4");
    signal(&child, "-TERM");
    interrupted(&fixture, child);
}

#[test]
fn a_run_outlives_its_terminal() {
    let fixture = Fixture::new();
    let mut child = running(&fixture, &[], &[]);
    drop((child.stdout.take(), child.stderr.take()));
    std::thread::sleep(Duration::from_millis(200)); // it has more to say
    signal(&child, "-HUP");
    interrupted(&fixture, child);
}

#[test]
fn after_the_last_step_a_signal_stops_no_step() {
    let fixture = Fixture::new();
    let mut child = start(&fixture, &[], &["max_steps=1", "eval_max_new_tokens=400", "--plain"]);
    while child.try_wait().unwrap().is_none() && !fixture.path("run/final").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("training has ended"), "{stderr}");
    assert!(report(&fixture).contains("\"completed\""));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("after    exact match"), "{stdout}");
}

const CTRL_C: &[u8] = b"\x03";

/// A run on a terminal of its own, which says at the end how the terminal was left.
struct OnTerminal {
    child: Child,
    screen: JoinHandle<String>,
}

impl OnTerminal {
    /// Starts a run of `settings` and waits until the file `name` in its folder holds `text`.
    fn start(fixture: &Fixture, settings: &[&str], name: &str, text: &str) -> Self {
        let settings: String = settings.iter().map(|setting| format!(" \"{setting}\"")).collect();
        let command = format!(
            "trap : INT; stty rows 40 columns 120; {} train run.toml{settings}; code=$?; stty -a; exit $code",
            env!("CARGO_BIN_EXE_burn-peft")
        );
        let mut script = Command::new("env");
        script.args([HEEDING, "timeout", "--signal=KILL", "300"]); // unheard, it would go on
        script.args(["script", "--quiet", "--return", "--command", &command, "/dev/null"]);
        script.current_dir(fixture.path(".")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let screen = std::thread::spawn(move || {
            let mut screen = Vec::new();
            stdout.read_to_end(&mut screen).unwrap();
            String::from_utf8_lossy(&screen).into_owned()
        });
        let is_there = || {
            std::fs::read_to_string(fixture.path("run").join(name))
                .is_ok_and(|it| it.contains(text))
        };
        while child.try_wait().unwrap().is_none() && !is_there() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, screen }
    }

    fn type_in(&mut self, keys: &[u8]) {
        let _ = self.child.stdin.as_mut().unwrap().write_all(keys); // it may have ended
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What was shown from the first to the last, when the command has given the terminal back.
    fn ended(mut self) -> String {
        let status = self.child.wait().unwrap();
        let screen = self.screen.join().unwrap();
        assert_eq!(status.code(), Some(130), "{screen}");
        let (_, after) = screen.rsplit_once("\x1b[?1049h").expect("the dashboard was shown");
        assert!(after.contains("\x1b[?1049l"), "{after}");
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
        screen
    }
}

#[test]
fn in_the_dashboard_too_the_first_one_leaves_a_checkpoint() {
    let fixture = Fixture::new();
    let mut run = OnTerminal::start(&fixture, &LONG[..2], "metrics.jsonl", "\n");
    run.type_in(CTRL_C);
    let screen = run.ended();
    assert!(screen.contains("resume   run/checkpoint-"), "{screen}");
    assert!(report(&fixture).contains("\"interrupted\""));
    assert!(fixture.done(&["inspect", "run"]).stdout.contains(": whole"));
}

#[test]
fn in_the_dashboard_too_a_second_one_stops_at_once() {
    let fixture = Fixture::new();
    let settings = [&LONG[..2], &SLOW].concat();
    let mut run = OnTerminal::start(&fixture, &settings, "run.json", "running");
    while !run.has_ended() {
        std::thread::sleep(Duration::from_millis(50));
        run.type_in(CTRL_C);
    }
    run.ended();
    assert!(report(&fixture).contains("\"running\""), "nothing was finished");
}
