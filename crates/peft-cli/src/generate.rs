//! `burn-peft generate`.

use std::io::Read;
use std::process::ExitCode;

use peft_core::device_by_name;
use peft_llama::{Checkpoint, Sampling, TextOptions, Tokenizer};
use peft_train::{Error, load_adapted};

use crate::args::GenerateArgs;
use crate::failure::Failure;
use crate::output::{complain, say};
use crate::progress::Progress;

pub fn generate(args: &GenerateArgs) -> Result<ExitCode, Failure> {
    peft_train::join_compute_threads();
    let options = TextOptions {
        max_new_tokens: args.max_new_tokens,
        sampling: Sampling::new(args.temperature, args.top_p, args.seed)?,
        stop: args.stop.clone(),
    };
    let device = device_by_name(&args.device)?;
    let checkpoint = Checkpoint::open(&args.model)?;
    let tokenizer = Tokenizer::from_dir(&args.model, checkpoint.config())?;
    let prompt = prompt(args)?;

    let progress = Progress::default();
    let adapted = load_adapted(&checkpoint, args.adapter.as_deref(), &device, |at| {
        progress.bytes("loading", at.bytes_done, at.bytes_total);
    })?;
    progress.clear();
    if adapted.undecided_ranks {
        complain(
            "note: AdaLoRA has not made its last cut: all ranks are at work, as in LoRA, and the trained \
             model may answer otherwise",
        );
    }
    let completions = adapted.model.complete(&tokenizer, &[prompt], &options);
    for completion in completions? {
        say(completion.text);
    }
    Ok(ExitCode::SUCCESS)
}

/// The prompt of the command line, or all of standard input.
fn prompt(args: &GenerateArgs) -> Result<String, Failure> {
    if let Some(prompt) = args.prompt.as_ref().filter(|prompt| *prompt != "-") {
        return Ok(prompt.clone());
    }
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|source| Error::Io { action: "read", path: "standard input".into(), source })?;
    Ok(text)
}
