//! What each task does.

use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use clap::Parser;

use crate::conform::{self, CaseError, Outcome};

/// Development tasks of burn-peft.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
pub enum Command {
    /// Reproduces recorded runs of the reference implementations. Prints a line per case; exits 1
    /// if any fails.
    Conform {
        /// Case folders, or folders of them.
        #[arg(default_value = "tests/cases")]
        dirs: Vec<PathBuf>,
        /// Device to run on: auto, flex, ndarray, wgpu, cuda or cuda:N.
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Runs the test suite.
    Test {
        /// Device the tests run on.
        #[arg(long, default_value = "ndarray")]
        device: String,
    },
    /// Builds the documentation, warnings denied.
    Docs,
    /// Does what continuous integration does.
    Ci,
}

impl Command {
    /// Whether everything passed.
    pub fn run(self) -> Result<bool, CaseError> {
        match self {
            Self::Conform { dirs, device } => conform(&dirs, &device),
            Self::Test { device } => {
                cargo(&["test", "--workspace"], &[("BURN_PEFT_TEST_DEVICE", device)])
            }
            Self::Docs => {
                let deny = ("RUSTDOCFLAGS", "-D warnings".to_string());
                cargo(&["doc", "--workspace", "--no-deps"], &[deny])
            }
            Self::Ci => Ok(Process::new("bash").arg(".ci/run").status()?.success()),
        }
    }
}

fn conform(dirs: &[PathBuf], device: &str) -> Result<bool, CaseError> {
    let device = peft_core::device_by_name(device)?;
    println!("device {device:?}");
    let mut passed = true;
    for dir in conform::find(dirs)? {
        match conform::run(&dir, &device) {
            Ok((case, Outcome::Pass(comparison))) => println!("PASS {} {comparison}", case.name),
            Ok((case, Outcome::Skip(reason))) => println!("SKIP {} {reason}", case.name),
            Ok((case, Outcome::Fail(comparison))) => {
                println!("FAIL {} {comparison}", case.name);
                passed = false;
            }
            Err(error) => {
                println!("FAIL {} {error}", dir.display());
                passed = false;
            }
        }
    }
    Ok(passed)
}

fn cargo(args: &[&str], env: &[(&str, String)]) -> Result<bool, CaseError> {
    let mut cargo = Process::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).envs(env.iter().map(|(key, value)| (key, value))).stdin(Stdio::null());
    Ok(cargo.status()?.success())
}
