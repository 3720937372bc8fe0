//! The published comparison of methods on the small model, reproduced.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::conform::CaseError;

/// Each with the learning rate the example has for it.
const METHODS: [&str; 8] =
    ["losia-pro", "fixed-subnets", "lora", "dora", "pissa", "adalora", "full", "full-all"];

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

fn train(method: &str, seed: u64, out: &Path) -> Result<Value, CaseError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--example", "losia_llama", "--", "--plain"])
        .args(["--method", method])
        .args(["--seed", &seed.to_string(), "--known-data", "assets/tasks/known.jsonl", "--out"])
        .arg(out)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let report = out.join("run.json");
    let json = std::fs::read(&report).map_err(|e| format!("{}: {e}", report.display()))?;
    Ok(serde_json::from_slice(&json)?)
}
