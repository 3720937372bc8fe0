//! `burn-peft inspect`.

use std::process::ExitCode;

use peft_core::device_by_name;
use peft_train::config::TypedConfig;
use peft_train::inspect::InspectOptions;

use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::output::say;
use crate::progress::Progress;

pub fn inspect(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let device = device_by_name(&args.device)?;
    let config = args.config.as_ref().map(|path| TypedConfig::read(path, &[])).transpose()?;
    let options =
        InspectOptions { base: args.base.as_deref(), config: config.as_ref(), device: &device };
    let progress = Progress::default();
    let watch = &mut |done, total| progress.bytes("reading", done, total);
    let inspection = peft_train::inspect::inspect(&args.path, options, watch)?;
    progress.clear();
    say(inspection);
    Ok(ExitCode::SUCCESS)
}
