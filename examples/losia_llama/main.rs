//! Fine-tunes a LLaMA checkpoint with LoSiA-Pro and shows what it gained:
//!
//! ```text
//! cargo run --release --example losia_llama
//! cargo run --example losia_llama --features cuda -- --model DIR --data FILE.jsonl
//! ```

mod args;
mod setup;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use burn::module::Module;
use burn::train::renderer::MetricsRenderer;
use burn_peft::core::{ParamCounts, TunerConfig, device_by_name};
use burn_peft::llama::{CausalLm, Checkpoint, Tokenizer, copy_tokenizer_files, save};
use burn_peft::train::data::{Example, TokenizeOptions, tokenize};
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::{RankHistory, RunReport, RunStatus, Scores, peak_memory_bytes};
use burn_peft::train::run::{Finished, Run, RunPlan, TrainConfig, latest_checkpoint};
use burn_peft::train::{Error, EvaluateOptions, evaluate};
use clap::Parser;
use serde_json::{Value, json};

use crate::args::Args;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(RunStatus::Interrupted) => ExitCode::from(130),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<RunStatus, Error> {
    let device = device_by_name(&args.device)?;
    println!("device  {device:?}");
    let (checkpoint, model, tokenizer) = setup::load(args, &device)?;
    let (train, held_back) = setup::data(args)?;
    let dtype = format!("{:?}", model.model.embed_tokens.weight.base().dtype());

    let known = setup::known(args)?;
    let measure_all = |when, model: &CausalLm| {
        let scores = measure(when, args, model, &tokenizer, &held_back)?;
        let known = match known.is_empty() {
            true => None,
            false => Some(measure("known", args, model, &tokenizer, &known)?),
        };
        Ok::<_, Error>((scores, known))
    };
    let before = measure_all("before", &model)?;
    let (run, config, settings) = prepare(args, model, &tokenizer, &train, &held_back)?;
    let counts = run.counts();
    println!("method  {:?}: {}", args.method, describe(counts));
    let adapted = run.adapted();
    if !adapted.is_empty() {
        println!("adapts  {}", by_module(&adapted));
    }
    let finished = run.launch(renderer(args, &config, train.len()))?;
    println!("trained {} steps in {:.1} s", finished.steps, finished.seconds);
    let after = measure_all("after", &finished.model)?;

    let saved = args.out.join("model");
    write_model(&saved, &finished.model, &checkpoint)?;
    write_adapter(&args.out, &finished)?;
    let mut report = report(&finished, settings, format!("{device:?}"), dtype, counts);
    (report.before, report.after) = (Some(before.0), Some(after.0));
    report.known = before.1.zip(after.1).map(Into::into);
    report.write(&args.out)?;
    println!("saved   {} and {}", saved.display(), args.out.join(RunReport::FILE_NAME).display());
    Ok(finished.status)
}

fn prepare(
    args: &Args,
    model: CausalLm,
    tokenizer: &Tokenizer,
    train: &[Example],
    held_back: &[Example],
) -> Result<(Run, TrainConfig, Value), Error> {
    let options = TokenizeOptions { sequence_len: args.sequence_len, train_on_inputs: false };
    let tokenized = tokenize(train, tokenizer, options)?;
    if tokenized.truncated + tokenized.dropped > 0 {
        println!("note    {} truncated, {} dropped", tokenized.truncated, tokenized.dropped);
    }
    let valid = tokenize(held_back, tokenizer, options)?.samples;
    let config = setup::train_config(args);
    let total_steps = config.total_steps(tokenized.samples.len());
    let (method, method_config) = setup::method(args, total_steps, model.output_head_name())?;
    let settings = json!({
        "method": method.name(), "settings": method_config, "run": config,
        "model": args.model, "data": args.data,
    });
    let resume = match args.resume {
        true => latest_checkpoint(&args.out)?,
        false => None,
    };
    if args.resume && resume.is_none() {
        println!("note    no checkpoint in {}: starting anew", args.out.display());
    }
    let plan = RunPlan {
        method,
        method_config,
        tuner_config: TunerConfig::default(),
        config: config.clone(),
        train_samples: tokenized.samples,
        valid_samples: valid,
        output_dir: &args.out,
        resume_from: resume.as_deref(),
    };
    Ok((Run::new(model, plan)?, config, settings))
}

fn describe(counts: ParamCounts) -> String {
    let share = 100.0 * counts.trainable as f64 / counts.total as f64;
    format!("{} of {} parameters trained at a time ({share:.2} %)", counts.trainable, counts.total)
}

/// How many weights of which modules.
fn by_module(paths: &[String]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for path in paths {
        let module = path.trim_end_matches(".weight").rsplit('.').next().unwrap_or(path);
        match counts.iter_mut().find(|(name, _)| *name == module) {
            Some((_, count)) => *count += 1,
            None => counts.push((module, 1)),
        }
    }
    let counts = counts.into_iter().map(|(name, count)| format!("{count} {name}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn measure(
    when: &str,
    args: &Args,
    model: &CausalLm,
    tokenizer: &Tokenizer,
    examples: &[Example],
) -> Result<Scores, Error> {
    let bar = setup::bar(examples.len() as u64, when, "{pos}/{len}");
    let options = EvaluateOptions {
        batch_size: std::num::NonZeroUsize::new(64).unwrap_or(std::num::NonZeroUsize::MIN),
        sequence_len: args.sequence_len,
        max_new_tokens: args.max_new_tokens,
    };
    let model = model.valid();
    let scores = evaluate(&model, tokenizer, examples, options, |n| bar.set_position(n as u64))?;
    bar.finish_and_clear();
    let accuracy = 100.0 * scores.accuracy.unwrap_or(f64::NAN);
    println!("{when:<7} exact match {accuracy:.1} %, loss {:.4}", scores.loss);
    Ok(scores)
}

/// Burn's dashboard on a terminal, plain lines elsewhere.
fn renderer(args: &Args, config: &TrainConfig, samples: usize) -> Option<Box<dyn MetricsRenderer>> {
    if std::io::stdout().is_terminal() && !args.plain {
        return None;
    }
    let options = LinesOptions {
        samples_per_step: config
            .micro_batch_size
            .saturating_mul(config.gradient_accumulation_steps),
        total_steps: config.total_steps(samples),
        logging_steps: config.logging_steps,
    };
    Some(Box::new(LinesRenderer::new(std::io::stdout(), options)))
}

/// Writes the merged model, in the type it was trained in, beside `dir` and renames it: an earlier
/// one, which may be the model that was loaded, is replaced only by a whole one.
fn write_model(dir: &Path, model: &CausalLm, checkpoint: &Checkpoint) -> Result<(), Error> {
    let unwritten = |source| Error::Io { action: "write", path: dir.into(), source };
    let parent = dir.parent().unwrap_or(Path::new("."));
    let staged = tempfile::Builder::new().prefix(".model-").tempdir_in(parent);
    let staged = staged.map_err(unwritten)?;
    let new = staged.path().join("model");
    save(model, checkpoint.config(), &new, None)?;
    copy_tokenizer_files(checkpoint.dir(), &new)?;
    if dir.exists() {
        std::fs::rename(dir, staged.path().join("old")).map_err(unwritten)?;
    }
    std::fs::rename(&new, dir).map_err(unwritten)
}

/// Writes what training changed, and AdaLoRA's ranks as a picture.
fn write_adapter(out: &Path, finished: &Finished) -> Result<(), Error> {
    if let Some(adapter) = &finished.adapter {
        let dir = out.join("adapter");
        std::fs::create_dir_all(&dir).map_err(|source| Error::Io {
            action: "write",
            path: dir.clone(),
            source,
        })?;
        adapter.write(&dir)?;
        println!("adapter {}", dir.display());
    }
    if let Some(ranks) = RankHistory::read(out)? {
        println!("ranks   {}", ranks.draw(out)?.display());
    }
    Ok(())
}

fn report(
    finished: &Finished,
    config: Value,
    device: String,
    dtype: String,
    counts: ParamCounts,
) -> RunReport {
    RunReport {
        version: env!("CARGO_PKG_VERSION").into(),
        config,
        device,
        dtype,
        status: finished.status,
        steps: finished.steps,
        seconds: finished.seconds,
        tokens_per_second: finished.tokens as f64 / finished.seconds.max(f64::MIN_POSITIVE),
        peak_memory_bytes: peak_memory_bytes(),
        trainable_parameters: counts.trainable,
        total_parameters: counts.total,
        before: None,
        after: None,
        known: None,
    }
}
