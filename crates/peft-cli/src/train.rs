//! `burn-peft train` and `burn-peft resume`.

use std::io::IsTerminal;
use std::process::ExitCode;

use burn::train::renderer::MetricsRenderer;
use peft_train::config::TypedConfig;
use peft_train::plan::{Outcome, Plan, Training, resumed};
use peft_train::progress::LinesRenderer;
use peft_train::report::{RunStatus, Scores};

use crate::args::{ResumeArgs, TrainArgs};
use crate::dashboard::dashboard;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::say;
use crate::progress::Progress;

pub fn train(args: &TrainArgs) -> Result<ExitCode, Failure> {
    let typed = TypedConfig::read(&args.config, &args.settings)?;
    let plan = plan(&typed)?;
    say(&plan);
    match args.dry_run {
        true => Ok(ExitCode::SUCCESS),
        false => launch(plan, args.plain),
    }
}

pub fn resume(args: &ResumeArgs) -> Result<ExitCode, Failure> {
    let (typed, passed_over) = resumed(&args.run)?;
    for error in passed_over {
        say(format_args!("note     passed over: {error}"));
    }
    if typed.config.resume_from_checkpoint.is_none() {
        say("note     no whole checkpoint: the run starts from the beginning");
    }
    let plan = plan(&typed)?;
    say(&plan);
    launch(plan, args.plain)
}

fn plan(typed: &TypedConfig) -> Result<Plan, Failure> {
    if typed.config.device.names().len() == 1 {
        peft_train::join_compute_threads();
    }
    Ok(Plan::new(typed)?)
}

fn launch(plan: Plan, plain: bool) -> Result<ExitCode, Failure> {
    let progress = Progress::default();
    let watch = &mut |activity| progress.activity(activity);
    let training = plan.load(watch)?;
    progress.clear();
    tell("before", training.before());
    let ended = interrupt::handle(training.interrupter());
    let renderer = Some(renderer(&training, plain));
    let watch = &mut |activity| {
        ended.set();
        progress.activity(activity);
    };
    let outcome = training.launch(renderer, watch).map_err(Failure::Training)?;
    progress.clear();
    Ok(report(&outcome))
}

/// Burn's dashboard on a terminal, plain lines elsewhere.
fn renderer(training: &Training, plain: bool) -> Box<dyn MetricsRenderer> {
    match std::io::stdout().is_terminal() && !plain {
        true => dashboard(training),
        false => Box::new(LinesRenderer::new(std::io::stdout(), training.lines())),
    }
}

fn report(outcome: &Outcome) -> ExitCode {
    let Outcome { status, steps, seconds, after, adapter, final_model, checkpoint, .. } = outcome;
    for note in &outcome.notes {
        say(format_args!("note     {note}"));
    }
    tell("after", *after);
    say(format_args!("trained  {steps} steps in all, {seconds:.1} s now"));
    let written = [("adapter", adapter), ("final", final_model), ("resume", checkpoint)];
    for (label, path) in written {
        if let Some(path) = path {
            say(format_args!("{label:<9}{}", path.display()));
        }
    }
    match status {
        RunStatus::Completed => ExitCode::SUCCESS,
        _ => ExitCode::from(interrupt::EXIT_CODE),
    }
}

fn tell(when: &str, scores: Option<Scores>) {
    let Some(Scores { accuracy, loss, items }) = scores else { return };
    let accuracy =
        accuracy.map_or(String::new(), |share| format!("exact match {:.1} %, ", 100.0 * share));
    let loss = loss.map_or("not finite".into(), |loss| format!("{loss:.4}"));
    say(format_args!("{when:<9}{accuracy}loss {loss} on {items} samples"));
}
