//! Pre-trains the small LLaMA of this repository from scratch on a made-up world, and writes it
//! with its tokenizer, its scores and the fine-tuning tasks:
//!
//! ```text
//! cargo run --release --example pretrain_tiny
//! ```

mod card;
mod world;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::schedule::DenseSchedule;
use burn_peft::core::{TunerConfig, device_by_name};
use burn_peft::llama::{CausalLm, Checkpoint, DecoderConfig, Tokenizer, save};
use burn_peft::train::data::{Example, TokenizeOptions, tokenize};
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::run::{Run, RunPlan, TrainConfig};
use burn_peft::train::{EvaluateOptions, evaluate};
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use world::{Split, World};

/// Longest document, in tokens.
const SEQUENCE_LEN: usize = 96;
/// Fine-tuning items written for training and held back.
const FINETUNE_ITEMS: [(Split, &str, usize); 2] =
    [(Split::Train, "train.jsonl", 12_000), (Split::HeldBack, "held_back.jsonl", 600)];

/// Pre-trains the small LLaMA of this repository from scratch.
#[derive(Parser, Debug)]
struct Args {
    /// Folder the checkpoint is written to.
    #[arg(long, default_value = "assets/tiny-llama")]
    out: PathBuf,
    /// Folder the fine-tuning tasks are written to.
    #[arg(long, default_value = "assets/tasks")]
    tasks: PathBuf,
    /// Optimizer steps.
    #[arg(long, default_value_t = 4300)]
    steps: usize,
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

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = device_by_name(&args.device)?;
    println!("device {device:?}");
    let world = World::new(args.seed);
    let work = tempfile::tempdir()?;
    let tokenizer = make_tokenizer(&world, work.path())?;
    let config = config(tokenizer.vocab_size())?;

    let (model, seconds) = pretrain(&args, &world, &tokenizer, &config, &device, work.path())?;
    write_checkpoint(&args.out, &model, &config, work.path())?;
    write_tasks(&args.tasks, &world)?;

    // What is published is the rounded model: measure that one.
    let model = Checkpoint::open(&args.out)?.load(&device, Some(DType::F32), |_| ())?.0;
    let scores = card::scores(&world, |items| exact_match(&model, &tokenizer, items))?;
    card::write(&args.out, &args, &config, &scores, seconds)?;
    println!("{scores}");
    Ok(())
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
    let documents = (0..args.steps * args.batch.get()).map(|_| world.corpus_document(&mut rng));
    let examples: Vec<Example> =
        documents.map(|d| Example::completion(d.prompt(), d.completion())).collect();
    let options = TokenizeOptions { sequence_len: SEQUENCE_LEN, train_on_inputs: false };
    let samples = tokenize(&examples, tokenizer, options)?.samples;
    let tokens: usize = samples.iter().map(|sample| sample.input_ids.len()).sum();
    println!("{} documents, {tokens} tokens, {} steps", samples.len(), args.steps);

    device.seed(args.seed);
    let schedule = DenseSchedule::new(args.steps, 0.03, 0.02);
    let method = Full { learning_rate: args.learning_rate, schedule, target_modules: None };
    let train_config = TrainConfig {
        micro_batch_size: args.batch,
        weight_decay: 0.1,
        group_by_length: true,
        logging_steps: NonZeroUsize::new(50).unwrap_or(NonZeroUsize::MIN),
        ..TrainConfig::default()
    };
    let lines = LinesOptions {
        samples_per_step: args.batch,
        total_steps: args.steps,
        logging_steps: train_config.logging_steps,
    };
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

fn write_checkpoint(
    out: &Path,
    model: &CausalLm,
    config: &DecoderConfig,
    tokenizer: &Path,
) -> Result<(), Box<dyn Error>> {
    if out.exists() {
        std::fs::remove_dir_all(out)?;
    }
    save(model, config, out, Some(DType::BF16))?;
    burn_peft::llama::copy_tokenizer_files(tokenizer, out)?;
    Ok(())
}

fn write_tasks(dir: &Path, world: &World) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(dir)?;
    for (seed, (split, name, items)) in FINETUNE_ITEMS.into_iter().enumerate() {
        let examples = world.finetune(seed as u64, split, items);
        let lines = examples.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        std::fs::write(dir.join(name), lines.join("\n") + "\n")?;
    }
    let known = world.known_tasks(2, 600);
    let lines = known.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    std::fs::write(dir.join("known.jsonl"), lines.join("\n") + "\n")?;
    Ok(())
}
