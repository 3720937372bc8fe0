//! What each task does.

use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use clap::Parser;

use crate::conform::{self, CaseError, Outcome};
use crate::{interop, results, soak};

const CI_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/run");

/// Development tasks of burn-peft.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
pub enum Command {
    /// Reproduces recorded runs of the reference implementations. Prints a line per case; exits 1
    /// if any fails.
    Conform {
        /// Case folders, or folders with cases anywhere below them.
        #[arg(default_value = "tests/cases")]
        dirs: Vec<PathBuf>,
        /// Device to run on: auto, flex, ndarray, wgpu, cuda or cuda:N.
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Says whether this machine has a device, and exits 1 if it has not.
    Device {
        /// Name of the device, as `conform` takes it.
        name: String,
    },
    /// Exchanges adapters and merged models with Python's PEFT and transformers, both ways, and
    /// compares logits. Prints a line per adapter or model; exits 1 if any fails.
    Interop {
        /// Python interpreter that has the packages. Without it, they are installed into
        /// target/interop-venv, from xtask/src/interop/requirements.txt.
        #[arg(long)]
        python: Option<PathBuf>,
    },
    /// Runs the test suite.
    Test {
        /// Device the tests run on: flex, ndarray, wgpu, cuda or cuda:N. The GPU backends are
        /// compiled in when named, and cuda needs its toolkit.
        #[arg(long, default_value = "ndarray")]
        device: String,
    },
    /// Runs the main example on the CPU and checks what it shows: on held-back items, exact match is
    /// at most 30 % before and at least 80 % after. Exits 1 if it is not.
    Example,
    /// Compares methods on the small model, as published in the README.
    Results {
        /// Seeds per method.
        #[arg(long, default_value_t = 3)]
        seeds: u64,
        /// Folder for the runs.
        #[arg(long, default_value = "runs/results")]
        out: PathBuf,
    },
    /// Trains the small model again and again while it is killed, its checkpoints are damaged and
    /// its disk is filled. Prints a line per event with the steps it cost; exits 1 if more than the
    /// interval between checkpoints was lost, or a bit.
    Soak {
        /// Minutes after which no further run is begun; a week at most.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_080))]
        minutes: u64,
        /// Seed of the runs and of what happens to them.
        #[arg(long, default_value_t = 0)]
        seed: u64,
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
            Self::Device { name } => device(&name),
            Self::Interop { python } => interop::run(python),
            Self::Test { device } => test(&device),
            Self::Example => results::example(),
            Self::Results { seeds, out } => results::run(seeds, &out),
            Self::Soak { minutes, seed } => soak(minutes, seed),
            Self::Docs => {
                cargo(&["doc", "--workspace", "--no-deps"], ("RUSTDOCFLAGS", "-D warnings"))
            }
            Self::Ci => Ok(Process::new(CI_SCRIPT).status()?.success()),
        }
    }
}

fn conform(dirs: &[PathBuf], device: &str) -> Result<bool, CaseError> {
    let device = peft_core::device_by_name(device)?;
    println!("device {device:?}");
    if !peft_core::multiplies_in_f32(&device) {
        println!(
            "it multiplies f32 in TF32: products are off by more than the tolerances, made for f32"
        );
    }
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

fn device(name: &str) -> Result<bool, CaseError> {
    match peft_core::device_by_name(name) {
        Ok(device) => {
            println!("{device:?}");
            Ok(true)
        }
        Err(missing @ peft_core::Error::DeviceMissing { .. }) => {
            println!("{missing}");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Builds the command first: a soak of an old one would prove nothing.
fn soak(minutes: u64, seed: u64) -> Result<bool, CaseError> {
    let built =
        cargo(&["build", "--workspace", "--bin", "burn-peft"], ("CARGO_TERM_QUIET", "true"))?;
    let command = format!("burn-peft{}", std::env::consts::EXE_SUFFIX);
    let command = std::env::current_exe()?.with_file_name(command);
    Ok(built && soak::run(&command, minutes, seed)?)
}

fn test(device: &str) -> Result<bool, CaseError> {
    let backend = device.split(':').next().unwrap_or_default();
    let mut args = vec!["test", "--workspace"];
    if matches!(backend, "wgpu" | "cuda") {
        args.extend(["--features", backend]);
    }
    cargo(&args, ("BURN_PEFT_TEST_DEVICE", device))
}

fn cargo(args: &[&str], (key, value): (&str, &str)) -> Result<bool, CaseError> {
    let mut cargo = Process::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    Ok(cargo.args(args).env(key, value).stdin(Stdio::null()).status()?.success())
}
