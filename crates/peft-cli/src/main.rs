//! The `burn-peft` command: fine-tunes LLaMA and Gemma models from one config file, and looks after
//! what comes of it.

mod args;
mod dashboard;
mod failure;
mod generate;
mod inspect;
mod interrupt;
mod merge;
mod output;
mod progress;
mod signals;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use peft_train::config::TrainingConfig;

use args::{Cli, Command};
use failure::Failure;
use output::{complain, say};

fn main() -> ExitCode {
    peft_train::silence_caught_panics();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Train(args) => train::train(&args),
        Command::Resume(args) => train::resume(&args),
        Command::Generate(args) => generate::generate(&args),
        Command::Merge(args) => merge::merge(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Schema => {
            say(format_args!("{:#}", TrainingConfig::schema()));
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "burn-peft", &mut script);
            say(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}
