//! Kills a training process at random moments, again and again, and compares what comes of it with
//! a run that was left alone. The process is this program, started with a folder to train in.

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use burn_peft::train::Error;
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::{Run, latest_checkpoint};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{SAMPLES, bits, losia, model, plan, train_config};

/// Says that this is the process to be killed, and where it trains.
const OUTPUT_DIR: &str = "BURN_PEFT_KILL_TEST_OUTPUT_DIR";
/// What the child leaves when it is done: the bits of its merged model.
const WEIGHTS: &str = "weights.json";
const KILLS: usize = 20;
const EPOCHS: usize = 20;
const SEED: u64 = 11;

/// Bits of every weight.
type Weights = BTreeMap<String, Vec<u32>>;

fn main() -> ExitCode {
    match std::env::var_os(OUTPUT_DIR) {
        Some(dir) => child(Path::new(&dir)),
        None => {
            let whole = tempfile::tempdir().unwrap();
            let (want, time) = finish(whole.path());
            a_run_killed_at_random_moments_ends_with_the_same_bits(&want, time);
            #[cfg(unix)]
            a_checkpoint_that_cannot_be_written_is_an_error(&want);
            ExitCode::SUCCESS
        }
    }
}

fn child(out: &Path) -> ExitCode {
    match train(out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint().unwrap_or_default());
            ExitCode::from(2)
        }
    }
}

/// Starts, or goes on from the newest whole checkpoint, and says when training begins.
fn train(out: &Path) -> Result<(), Error> {
    let mut config = train_config(EPOCHS);
    config.save_steps = NonZeroUsize::new(2);
    config.save_total_limit = NonZeroUsize::new(3);
    let total_steps = config.total_steps(SAMPLES);
    let latest = latest_checkpoint(out)?;
    assert!(latest.passed_over.is_empty(), "{:?}", latest.passed_over);
    let lines = LinesRenderer::new(std::io::sink(), LinesOptions::new(&config, SAMPLES));
    let plan = plan(losia(total_steps, support::PERIOD), config, out, latest.path.as_deref());
    let run = Run::new(model(), plan)?;
    println!("training");
    let finished = run.launch(Some(Box::new(lines)))?;
    let weights = serde_json::to_vec(&bits(&finished.model.unwrap())).unwrap();
    std::fs::write(out.join(WEIGHTS), weights).unwrap();
    Ok(())
}

fn start(out: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    spawn(&mut command, out)
}

fn spawn(command: &mut Command, out: &Path) -> Child {
    let command = command.env(OUTPUT_DIR, out).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Lets a process train to the end. Returns the weights, and how long it trained.
fn finish(out: &Path) -> (Weights, Duration) {
    let mut child = start(out);
    wait_for_training(&mut child);
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let weights = serde_json::from_slice(&std::fs::read(out.join(WEIGHTS)).unwrap()).unwrap();
    (weights, begin.elapsed())
}

/// Waits for the first line of the child.
fn wait_for_training(child: &mut Child) {
    let stdout = child.stdout.as_mut().unwrap();
    let mut line = String::new();
    std::io::BufReader::with_capacity(1, stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "training\n");
}

fn steps_of_newest(out: &Path) -> String {
    let newest = latest_checkpoint(out).unwrap().path;
    let name = newest.and_then(|path| Some(path.file_name()?.to_str()?.to_string()));
    name.unwrap_or_else(|| "none".into())
}

fn assert_same(got: &Weights, want: &Weights, what: &str) {
    assert_eq!(got.len(), want.len());
    for (name, want) in want {
        assert!(got[name] == *want, "{name} differs: {what}");
    }
}

/// Most processes are killed while they train, every fourth at any moment of its life.
fn a_run_killed_at_random_moments_ends_with_the_same_bits(want: &Weights, time: Duration) {
    let out = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut found = Vec::new();
    for kill in 0..KILLS {
        let mut child = start(out.path());
        if kill % 4 != 3 {
            wait_for_training(&mut child);
        }
        std::thread::sleep(time.mul_f64(rng.random_range(0.0..1.0) / KILLS as f64));
        child.kill().unwrap();
        child.wait().unwrap();
        found.push(steps_of_newest(out.path()));
        if let Ok(report) = RunReport::read(out.path()) {
            assert_eq!(report.status, RunStatus::Running);
        }
    }
    assert!(!out.path().join(WEIGHTS).exists(), "every process was killed before its end");
    let (got, _) = finish(out.path());
    assert_same(&got, want, &format!("killed {KILLS} times, leaving {found:?}"));
    let left = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let hidden: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert_eq!(hidden, [".lock"], "nothing temporary is left");
    println!("killed {KILLS} times, leaving {}: the same bits", found.join(", "));
}

/// A process that may not write files as large as a checkpoint's says so, and another goes on.
#[cfg(unix)]
fn a_checkpoint_that_cannot_be_written_is_an_error(want: &Weights) {
    let out = tempfile::tempdir().unwrap();
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\"";
    let mut command = Command::new("sh");
    let child =
        spawn(command.arg("-c").arg(limited).arg(std::env::current_exe().unwrap()), out.path());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in
        ["error: the checkpoint after step 2 was not written", "state.safetensors", "hint: "]
    {
        assert!(message.contains(part), "{message}");
    }
    let report = RunReport::read(out.path()).unwrap();
    assert_eq!(report.status, RunStatus::Failed);
    let left = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("checkpoint")).collect();
    assert!(left.is_empty(), "half a checkpoint is none: {left:?}");
    assert_same(&finish(out.path()).0, want, "after a checkpoint that could not be written");
    println!("a checkpoint that cannot be written is an error, and nothing is lost");
}
