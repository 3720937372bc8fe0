//! Development tasks: `cargo xtask conform | device | interop | test | example | results | soak | docs | ci`.

mod commands;
mod conform;
mod interop;
mod results;
mod soak;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::Command::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
