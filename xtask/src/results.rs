//! What the main example shows on the small model: checked once, and the published comparison of
//! methods.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::conform::CaseError;

/// Each with the learning rate the example has for it.
const METHODS: [&str; 8] =
    ["losia-pro", "fixed-subnets", "lora", "dora", "pissa", "adalora", "full", "full-all"];

/// Shares of held-back items that the main example gets right.
const MOST_BEFORE: f64 = 0.3;
const LEAST_AFTER: f64 = 0.8;

/// Trains every method with every seed and prints a table: exact match on held-back items, and on
/// tasks the model knew before.
pub fn run(seeds: u64, out: &Path) -> Result<bool, CaseError> {
    println!("| method | seed | held back before | after | known before | after | seconds |");
    println!("|---|---|---|---|---|---|---|");
    for method in METHODS {
        for seed in 0..seeds {
            let out = out.join(format!("{method}-{seed}"));
            let report = train(method, seed, &out)?;
            let percent = |path: &str| {
                let share = report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
                format!("{:.1} %", 100.0 * share)
            };
            println!(
                "| {method} | {seed} | {} | {} | {} | {} | {:.0} |",
                percent("/before/accuracy"),
                percent("/after/accuracy"),
                percent("/known/0/accuracy"),
                percent("/known/1/accuracy"),
                report["seconds"].as_f64().unwrap_or(f64::NAN),
            );
        }
    }
    Ok(true)
}

/// Whether the main example learns what it should.
pub fn example() -> Result<bool, CaseError> {
    let out = tempfile::tempdir()?;
    let report = losia_llama(&["--device", "flex"], "dev", out.path())?;
    let [before, after] =
        ["before", "after"].map(|when| report[when]["accuracy"].as_f64().unwrap_or(f64::NAN));
    let [before_percent, after_percent] = [before, after].map(|share| 100.0 * share);
    println!("exact match {before_percent:.1} % before, {after_percent:.1} % after");
    Ok(before <= MOST_BEFORE && after >= LEAST_AFTER)
}

fn train(method: &str, seed: u64, out: &Path) -> Result<Value, CaseError> {
    let (seed, known) = (seed.to_string(), "assets/tasks/known.jsonl");
    losia_llama(&["--method", method, "--seed", &seed, "--known-data", known], "release", out)
}

/// The report of a run of the example.
fn losia_llama(args: &[&str], profile: &str, out: &Path) -> Result<Value, CaseError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--profile", profile, "--example", "losia_llama"])
        .args(["--", "--plain", "--overwrite-output-dir"])
        .args(args)
        .arg("--out")
        .arg(out)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let report = out.join("run.json");
    let json = std::fs::read(&report).map_err(|e| format!("{}: {e}", report.display()))?;
    Ok(serde_json::from_slice(&json)?)
}
