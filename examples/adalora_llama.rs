//! AdaLoRA on the small model of this repository: which weights need the ranks?
//!
//! ```text
//! cargo run --release --example adalora_llama
//! ```
//!
//! Every linear weight starts with rank 8 and the budget falls to a mean of 4. What is left where
//! is printed, and drawn in `runs/adalora_llama/ranks.svg`.

mod common;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::{TunerConfig, device_by_name};
use burn_peft::llama::{Checkpoint, Tokenizer};
use burn_peft::train::data::{TokenizeOptions, read_jsonl, tokenize};
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::RankHistory;
use burn_peft::train::run::{Run, RunPlan, TrainConfig};
use burn_peft::train::{EvaluateOptions, evaluate, write_adapter};

const OUT: &str = "runs/adalora_llama";

fn main() -> ExitCode {
    burn_peft::train::silence_caught_panics();
    burn_peft::train::join_compute_threads();
    run().map_or_else(common::failed, |()| ExitCode::SUCCESS)
}

fn run() -> Result<(), Box<dyn Error>> {
    let out = Path::new(OUT);
    let of = |n| NonZeroUsize::new(n).expect("not zero");
    let device = device_by_name("auto")?;
    let checkpoint = Checkpoint::open("assets/tiny-llama")?;
    let tokenizer = Tokenizer::from_dir(checkpoint.dir(), checkpoint.config())?;
    let (model, _) = checkpoint.load(&device, None, |_| ())?;
    let read = |name| read_jsonl(&Path::new("assets/tasks").join(name), None, false);
    let (train, held_back) = (read("train.jsonl")?.examples, read("held_back.jsonl")?.examples);
    let options = TokenizeOptions { sequence_len: 512, train_on_inputs: false };
    let samples = tokenize(&train, &tokenizer, options)?.samples;

    let config = TrainConfig {
        micro_batch_size: of(32),
        group_by_length: true,
        logging_steps: of(20),
        overwrite_output_dir: true,
        ..TrainConfig::default()
    };
    let total_steps = config.total_steps(samples.len());
    let lines = LinesOptions::new(&config, samples.len());
    let adalora = AdaLoraConfig::new(total_steps)
        .with_output_head(Some(model.output_head_name().into()))
        .with_init_r(8)
        .with_target_r(4)
        .with_tinit(total_steps / 10)
        .with_tfinal(total_steps / 4)
        .with_delta_t(10)
        .with_lora_alpha(32.0)
        .with_learning_rate(5e-3);
    let plan = RunPlan {
        method_config: serde_json::to_value(&adalora)?,
        method: Box::new(AdaLora::new(adalora)?),
        tuner_config: TunerConfig::default(),
        config,
        devices: Vec::new(),
        train_samples: samples,
        valid_samples: tokenize(&held_back, &tokenizer, options)?.samples,
        base: None,
        output_dir: out,
        resume_from: None,
    };
    let measuring = EvaluateOptions { batch_size: of(64), sequence_len: 512, max_new_tokens: 32 };
    let before = evaluate(&model, &tokenizer, &held_back, measuring, |_| ())?;
    let run = Run::new(model, plan)?;
    let lines = LinesRenderer::new(std::io::stdout(), lines);
    let finished = run.launch(Some(Box::new(lines)))?;
    let model = finished.model.ok_or("the run was stopped")?;
    let after = evaluate(&model, &tokenizer, &held_back, measuring, |_| ())?;

    let percent = |accuracy: Option<f64>| 100.0 * accuracy.unwrap_or(f64::NAN);
    println!("exact match {:.1} % -> {:.1} %", percent(before.accuracy), percent(after.accuracy));
    let ranks = RankHistory::read(out)?.ok_or("no rank was ever pruned")?;
    for (weight, rank) in &ranks.last {
        println!("{rank:>3}  {:<8}  {weight}", "#".repeat(*rank));
    }
    println!("drawn in {}", ranks.draw(out)?.display());
    let adapter = out.join("adapter");
    write_adapter(&finished.adapter.ok_or("AdaLoRA has an adapter")?, &adapter)?;
    println!("adapter for PEFT in {}", adapter.display());
    Ok(())
}
