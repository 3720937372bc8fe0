//! How the examples end where they cannot go on.
#![allow(dead_code, reason = "every example uses its own part")]

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use burn_peft::{core, llama, train};

/// Says on standard error what went wrong and what to do about it.
pub fn failed(error: Box<dyn Error>) -> ExitCode {
    eprintln!("error: {error}");
    if let Some(hint) = hint(&*error) {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(2)
}

fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let of_method = || error.downcast_ref::<core::Error>()?.hint();
    let of_model = || error.downcast_ref::<llama::Error>()?.hint();
    let of_run = || error.downcast_ref::<train::Error>()?.hint();
    let own = || Some(error.downcast_ref::<Refusal>()?.hint.to_string());
    of_method().or_else(of_model).or_else(of_run).or_else(own)
}

/// Why an example does not do what it was asked to.
#[derive(Debug)]
pub struct Refusal {
    pub reason: String,
    pub hint: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for Refusal {}
