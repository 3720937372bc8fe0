//! `burn-peft merge`.

use std::process::ExitCode;

use peft_core::device_by_name;

use crate::args::MergeArgs;
use crate::failure::Failure;
use crate::output::say;
use crate::progress::Progress;

pub fn merge(args: &MergeArgs) -> Result<ExitCode, Failure> {
    let device = device_by_name(&args.device)?;
    let progress = Progress::default();
    peft_train::merge(&args.base, &args.adapter, &args.out, &device, |at| {
        progress.bytes("loading", at.bytes_done, at.bytes_total);
    })?;
    say(format_args!("merged   {}", args.out.display()));
    Ok(ExitCode::SUCCESS)
}
