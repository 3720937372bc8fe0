//! Fine-tunes a LLaMA checkpoint with LoSiA-Pro and shows what it gained:
//!
//! ```text
//! cargo run --release --example losia_llama
//! cargo run --example losia_llama --features cuda -- --model DIR --data FILE.jsonl
//! ```

mod args;
mod setup;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use burn::module::Module;
use burn::train::renderer::MetricsRenderer;
use burn_peft::core::{ParamCounts, TunerConfig, device_by_name};
use burn_peft::llama::{CausalLm, Tokenizer};
use burn_peft::train::data::{Example, TokenizeOptions, tokenize};
use burn_peft::train::plan::modules;
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::{RunReport, RunStatus, Scores, peak_memory_bytes, write_report};
use burn_peft::train::run::{BaseIdentity, Run, RunPlan, TrainConfig, latest_checkpoint};
use burn_peft::train::{Error, EvaluateOptions, evaluate, write_adapter, write_model};
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
    println!("method  {:?}: {}", args.method, describe(run.counts()));
    let adapted = run.adapted();
    if !adapted.is_empty() {
        println!("adapts  {}", modules(adapted.iter().map(String::as_str)));
    }
    let finished = run.launch(renderer(args, &config, train.len()))?;
    println!("trained {} steps in {:.1} s", finished.steps, finished.seconds);
    let Some(trained) = finished.model.as_ref().filter(|_| finished.status == RunStatus::Completed)
    else {
        let checkpoint = finished.checkpoint.as_deref().unwrap_or(&args.out);
        println!("stopped: {} has all that was trained; go on with --resume", checkpoint.display());
        return Ok(finished.status);
    };
    let after = measure_all("after", trained)?;

    let saved = args.out.join("model");
    write_model(trained, &checkpoint, &saved, None, None)?;
    if let Some(adapter) = &finished.adapter {
        write_adapter(adapter, &args.out.join("adapter"))?;
        println!("adapter {}", args.out.join("adapter").display());
    }
    let mut report = RunReport { config: settings, ..RunReport::read(&args.out)? };
    (report.before, report.after) = (Some(before.0), Some(after.0));
    report.known = before.1.zip(after.1).map(Into::into);
    report.peak_memory_bytes = peak_memory_bytes();
    report.write(&args.out)?;
    println!("saved   {} and {}", saved.display(), write_report(&args.out)?.display());
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
    let typed = setup::config(args);
    let config = typed.train_config();
    let total_steps = config.total_steps(tokenized.samples.len());
    let settings = setup::method(args, &typed, total_steps, model.output_head_name());
    let (method, method_config) = (settings.build()?, settings.to_json());
    let settings = json!({
        "method": method.name(), "settings": method_config, "run": config,
        "model": args.model, "data": args.data,
    });
    let resume = match args.resume {
        true => newest(args)?,
        false => None,
    };
    let plan = RunPlan {
        method,
        method_config,
        tuner_config: TunerConfig::default(),
        config: config.clone(),
        devices: Vec::new(),
        train_samples: tokenized.samples,
        valid_samples: valid,
        base: Some(BaseIdentity::of(&args.model)?),
        output_dir: &args.out,
        resume_from: resume.as_deref(),
    };
    Ok((Run::new(model, plan)?, config, settings))
}

/// The newest whole checkpoint of the output folder.
fn newest(args: &Args) -> Result<Option<PathBuf>, Error> {
    let latest = latest_checkpoint(&args.out)?;
    for reason in &latest.passed_over {
        println!("note    passed over: {reason}");
    }
    if latest.path.is_none() {
        println!("note    no checkpoint in {}: starting anew", args.out.display());
    }
    Ok(latest.path)
}

fn describe(counts: ParamCounts) -> String {
    let share = 100.0 * counts.trainable as f64 / counts.total as f64;
    format!("{} of {} parameters trained at a time ({share:.2} %)", counts.trainable, counts.total)
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
