//! Fine-tunes a LLaMA checkpoint with LoSiA-Pro and shows what it gained:
//!
//! ```text
//! cargo run --release --example losia_llama
//! cargo run --example losia_llama --features cuda -- --model DIR --data FILE.jsonl
//! ```

mod args;
#[path = "../common/mod.rs"]
mod common;
mod known;
mod progress;
mod setup;

use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use burn::train::renderer::MetricsRenderer;
use burn_peft::train::plan::{Outcome, Plan, Training};
use burn_peft::train::progress::LinesRenderer;
use burn_peft::train::report::Scores;
use clap::Parser;

use crate::args::Args;
use crate::known::Known;
use crate::progress::Bar;

fn main() -> ExitCode {
    burn_peft::train::silence_caught_panics();
    burn_peft::train::join_compute_threads();
    run(&Args::parse()).unwrap_or_else(common::failed)
}

fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let plan = Plan::new(&setup::config(args)?)?;
    let known = Known::read(args, plan.config())?;
    println!("{plan}");
    let mut bar = Bar::default();
    let training = plan.load(&mut |activity| bar.show(activity))?;
    tell("before", training.before());
    let renderer = renderer(&training, args.plain);
    let outcome = training.launch(renderer, &mut |activity| bar.show(activity))?;
    println!("trained  {} steps in {:.1} s", outcome.steps, outcome.seconds);
    tell("after", outcome.after);
    let Some(model) = &outcome.final_model else {
        say_stopped(&outcome, args.out());
        return Ok(ExitCode::from(130));
    };
    if let Some(known) = known {
        let [before, after] = known.report(&args.model, model, args.out())?;
        tell("knew", Some(before));
        tell("knows", Some(after));
    }
    for (label, path) in [("adapter", &outcome.adapter), ("saved", &outcome.final_model)] {
        if let Some(path) = path {
            println!("{label:<9}{}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Burn's dashboard on a terminal, plain lines elsewhere.
fn renderer(training: &Training, plain: bool) -> Option<Box<dyn MetricsRenderer>> {
    let dashboard = std::io::stdout().is_terminal() && !plain;
    let lines = || LinesRenderer::new(std::io::stdout(), training.lines());
    (!dashboard).then(|| Box::new(lines()) as Box<dyn MetricsRenderer>)
}

fn tell(when: &str, scores: Option<Scores>) {
    let Some(Scores { accuracy, loss, items }) = scores else { return };
    let share = accuracy.map_or("not measured".into(), |share| format!("{:.1} %", 100.0 * share));
    let loss = loss.map_or("not finite".into(), |loss| format!("{loss:.4}"));
    println!("{when:<9}exact match {share}, loss {loss} on {items} items");
}

fn say_stopped(outcome: &Outcome, out: &Path) {
    let kept = outcome.checkpoint.as_deref().unwrap_or(out);
    println!("stopped  {} has all that was trained; go on with --resume", kept.display());
}
