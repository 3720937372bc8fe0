//! Pre-trains a small LLaMA from scratch on a made-up world, and writes it with its tokenizer, its
//! scores and the fine-tuning tasks. What is in `assets/` was made by
//!
//! ```text
//! cargo run --release --example pretrain_tiny -- --out assets/tiny-llama --tasks assets/tasks
//! ```

mod card;
#[path = "../common/mod.rs"]
mod common;
mod tasks;
mod world;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::module::Module;
use burn::tensor::{DType, Device};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::schedule::DenseSchedule;
use burn_peft::core::{TunerConfig, device_by_name};
use burn_peft::llama::{
    CausalLm, Checkpoint, DecoderConfig, Tokenizer, copy_tokenizer_files, save,
};
use burn_peft::train::data::{Example, TokenizeOptions, tokenize};
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::run::{Run, RunPlan, TrainConfig};
use burn_peft::train::{EvaluateOptions, evaluate, write_model};
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use world::World;

/// Longest document, in tokens.
const SEQUENCE_LEN: usize = 96;

/// Pre-trains a small LLaMA from scratch on a made-up world.
#[derive(Parser, Debug)]
struct Args {
    /// Folder of the checkpoint. An earlier result of this program is replaced.
    #[arg(long, default_value = "runs/pretrain_tiny/model")]
    out: PathBuf,
    /// Folder the fine-tuning tasks are written to.
    #[arg(long, default_value = "runs/pretrain_tiny/tasks")]
    tasks: PathBuf,
    /// Optimizer steps.
    #[arg(long, default_value_t = NonZeroUsize::new(4300).unwrap())]
    steps: NonZeroUsize,
    /// Documents per step.
    #[arg(long, default_value_t = NonZeroUsize::new(64).unwrap())]
    batch: NonZeroUsize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Seed of the world, the corpus and the weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Device: auto, flex, ndarray, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
}

fn main() -> ExitCode {
    burn_peft::train::join_compute_threads();
    run(&Args::parse()).map_or_else(common::failed, |()| ExitCode::SUCCESS)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let world = World::new(args.seed);
    let tasks = tasks::files(&world)?;
    card::check(&args.out)?;
    tasks::check(&args.tasks, &tasks)?;
    let device = device_by_name(&args.device)?;
    println!("device {device:?}");
    let work = tempfile::tempdir()?;
    let tokenizer = make_tokenizer(&world, work.path())?;
    let config = config(tokenizer.vocab_size())?;

    let (model, seconds) = pretrain(args, &world, &tokenizer, &config, &device, work.path())?;
    // What is published is the rounded model: measure that one.
    let checkpoint = rounded(&model, &config, work.path())?;
    let (model, _) = checkpoint.load(&device, Some(DType::F32), |_| ())?;
    let scores = card::scores(&world, |items| exact_match(&model, &tokenizer, items))?;
    write_model(&model, &checkpoint, &args.out, Some(DType::BF16), None)?;
    let made = card::Made {
        args,
        config: &config,
        parameters: model.num_params(),
        seconds,
        device: format!("{device:?}"),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
    };
    card::write(&args.out, &made, &scores)?;
    tasks::write(&args.tasks, &tasks)?;
    println!("{scores}");
    Ok(())
}

/// The model as a checkpoint in bf16, with the tokenizer in the folder `work`.
fn rounded(
    model: &CausalLm,
    config: &DecoderConfig,
    work: &Path,
) -> Result<Checkpoint, Box<dyn Error>> {
    let dir = work.join("model");
    save(model, config, &dir, Some(DType::BF16))?;
    copy_tokenizer_files(work, &dir)?;
    Ok(Checkpoint::open(dir)?)
}

fn make_tokenizer(world: &World, dir: &Path) -> Result<Tokenizer, Box<dyn Error>> {
    let tokenizer = world::train_tokenizer(world, 800).map_err(|e| e.to_string())?;
    world::save_tokenizer(&tokenizer, dir).map_err(|e| e.to_string())?;
    Ok(Tokenizer::from_dir(dir, &config(tokenizer.get_vocab_size(true))?)?)
}

fn config(vocab_size: usize) -> Result<DecoderConfig, Box<dyn Error>> {
    let json = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": 160,
        "intermediate_size": 432,
        "num_hidden_layers": 5,
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.05,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
    });
    Ok(DecoderConfig::parse(&json.to_string(), "config.json")?)
}

fn pretrain(
    args: &Args,
    world: &World,
    tokenizer: &Tokenizer,
    config: &DecoderConfig,
    device: &Device,
    work: &Path,
) -> Result<(CausalLm, f64), Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let documents =
        (0..args.steps.get() * args.batch.get()).map(|_| world.corpus_document(&mut rng));
    let examples: Vec<Example> =
        documents.map(|d| Example::completion(d.prompt(), d.completion())).collect();
    let options = TokenizeOptions { sequence_len: SEQUENCE_LEN, train_on_inputs: false };
    let samples = tokenize(&examples, tokenizer, options)?.samples;
    let tokens: usize = samples.iter().map(|sample| sample.input_ids.len()).sum();
    println!("{} documents, {tokens} tokens, {} steps", samples.len(), args.steps);

    device.seed(args.seed);
    let schedule = DenseSchedule::new(args.steps.get(), 0.03, 0.02);
    let method = Full { learning_rate: args.learning_rate, schedule, target_modules: None };
    let train_config = TrainConfig {
        micro_batch_size: args.batch,
        weight_decay: 0.1,
        group_by_length: true,
        logging_steps: NonZeroUsize::new(50).unwrap_or(NonZeroUsize::MIN),
        ..TrainConfig::default()
    };
    let lines = LinesOptions::new(&train_config, samples.len());
    let plan = RunPlan {
        method: Box::new(method),
        method_config: json!({}),
        tuner_config: TunerConfig::default(),
        config: train_config,
        devices: Vec::new(),
        valid_samples: samples[..64.min(samples.len())].to_vec(),
        train_samples: samples,
        base: None,
        output_dir: work,
        resume_from: None,
    };
    let run = Run::new(config.init(device), plan)?;
    let finished = run.launch(Some(Box::new(LinesRenderer::new(std::io::stdout(), lines))))?;
    Ok((finished.model.ok_or("the run was stopped")?, finished.seconds))
}

fn exact_match(
    model: &CausalLm,
    tokenizer: &Tokenizer,
    items: &[world::Example],
) -> Result<f64, Box<dyn Error>> {
    let examples: Vec<Example> =
        items.iter().map(|item| Example::completion(item.prompt(), item.output.clone())).collect();
    let batch_size = NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN);
    let options = EvaluateOptions { batch_size, sequence_len: SEQUENCE_LEN, max_new_tokens: 16 };
    let scores = evaluate(model, tokenizer, &examples, options, |_| ())?;
    Ok(scores.accuracy.unwrap_or(0.0))
}
