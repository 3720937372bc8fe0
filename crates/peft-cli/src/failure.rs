//! What is said when a command fails, and its exit code.

use std::fmt;
use std::process::ExitCode;

use peft_train::Error;

/// A failed command.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for cannot be done: exit code 2.
    Input(Error),
    /// Training began and stopped by an error: exit code 1.
    Training(Error),
}

impl Failure {
    /// The code for the shell.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) => ExitCode::from(2),
            Self::Training(_) => ExitCode::from(1),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Input(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Input(error) | Self::Training(error)) = self;
        write!(f, "error: {error}")?;
        match error.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
