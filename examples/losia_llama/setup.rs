//! From arguments to a model, its data and its method.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::adapter::lora::{Lora, LoraConfig, LoraInit};
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::schedule::{DenseSchedule, LrScheduler, UpdateType};
use burn_peft::core::{Method, TargetModules};
use burn_peft::llama::{CausalLm, Checkpoint, Tokenizer};
use burn_peft::train::Error;
use burn_peft::train::data::{Example, JsonlDataset, epoch_order, read_jsonl};
use burn_peft::train::run::TrainConfig;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{Args, MethodName, Precision};

/// The repository's own training data, whose held-back part is a file beside it.
const OWN_DATA: &str = "assets/tasks/train.jsonl";
const OWN_HELD_BACK: &str = "assets/tasks/held_back.jsonl";
/// The linear modules of the layers: what LoSiA has subnets in.
const LAYERS: &str = r".*\.(self_attn|mlp)\..*";

/// A bar on terminals, nothing elsewhere.
pub fn bar(total: u64, label: &str, unit: &str) -> ProgressBar {
    let template = format!("{label} {{wide_bar}} {unit}");
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// Loads the checkpoint and its tokenizer, and says what was loaded.
pub fn load(args: &Args, device: &Device) -> Result<(Checkpoint, CausalLm, Tokenizer), Error> {
    let checkpoint = Checkpoint::open(&args.model)?;
    let tokenizer = Tokenizer::from_dir(&args.model, checkpoint.config())?;
    let progress = bar(0, "loading", "{bytes}/{total_bytes}");
    let dtype = match args.dtype {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 => DType::F16,
    };
    let mut bytes = 0;
    let (model, report) = checkpoint.load(device, Some(dtype), |at| {
        bytes = at.bytes_total;
        progress.set_length(at.bytes_total);
        progress.set_position(at.bytes_done);
    })?;
    progress.finish_and_clear();
    println!("model   {} ({})", args.model.display(), HumanBytes(bytes));
    println!("dtype   {:?}", report.dtype);
    if report.dtype != report.requested_dtype {
        println!("note    this device does not compute in {:?}", report.requested_dtype);
    }
    Ok((checkpoint, model, tokenizer))
}

/// Training examples and the ones held back.
pub fn data(args: &Args) -> Result<(Vec<Example>, Vec<Example>), Error> {
    let mut train = read(&args.data, args.skip_bad_lines)?;
    let own = args.data == Path::new(OWN_DATA);
    let eval: Option<PathBuf> =
        args.eval_data.clone().or_else(|| own.then(|| PathBuf::from(OWN_HELD_BACK)));
    let held_back = match eval {
        Some(path) => read(&path, args.skip_bad_lines)?.examples,
        None => {
            let count = (train.examples.len() / 20).clamp(1, 500);
            let order = epoch_order(0, 0, train.examples.len());
            let shuffled = order.into_iter().map(|index| train.examples[index].clone());
            train.examples = shuffled.collect();
            train.examples.split_off(train.examples.len().saturating_sub(count))
        }
    };
    println!(
        "data    {} examples to train on, {} held back",
        train.examples.len(),
        held_back.len()
    );
    Ok((train.examples, held_back))
}

/// Items of tasks that are not trained.
pub fn known(args: &Args) -> Result<Vec<Example>, Error> {
    match &args.known_data {
        Some(path) => Ok(read(path, args.skip_bad_lines)?.examples),
        None => Ok(Vec::new()),
    }
}

fn read(path: &Path, skip_bad_lines: bool) -> Result<JsonlDataset, Error> {
    let dataset = read_jsonl(path, None, skip_bad_lines)?;
    if dataset.skipped > 0 {
        println!("note    {} malformed lines of {} left out", dataset.skipped, path.display());
    }
    Ok(dataset)
}

pub fn train_config(args: &Args) -> TrainConfig {
    TrainConfig {
        micro_batch_size: args.batch,
        gradient_accumulation_steps: args.accumulate,
        num_epochs: args.epochs,
        max_steps: args.max_steps,
        seed: args.seed,
        group_by_length: true,
        save_steps: args.save_steps,
        logging_steps: std::num::NonZeroUsize::new(10).unwrap_or(std::num::NonZeroUsize::MIN),
        ..TrainConfig::default()
    }
}

/// The method, and its configuration for the report.
pub fn method(
    args: &Args,
    total_steps: usize,
    head: &str,
) -> Result<(Box<dyn Method>, Value), Error> {
    let full = |target_modules| {
        let schedule = DenseSchedule::new(total_steps, 0.1, 0.1);
        let full = Full { learning_rate: args.learning_rate(), schedule, target_modules };
        let config = json!({ "learning_rate": args.learning_rate() });
        Ok((Box::new(full) as Box<dyn Method>, config))
    };
    let update_type = match args.method {
        MethodName::Full => return full(Some(TargetModules::Pattern(LAYERS.into()))),
        MethodName::FullAll => return full(None),
        MethodName::Lora => return lora(lora_config(args, total_steps)),
        MethodName::Dora => return lora(lora_config(args, total_steps).with_use_dora(true)),
        MethodName::Pissa => {
            let pissa = LoraInit::PissaNiter(16);
            return lora(lora_config(args, total_steps).with_init_lora_weights(pissa));
        }
        MethodName::Adalora => return adalora(args, total_steps),
        MethodName::FixedSubnets => UpdateType::Fixed,
        MethodName::LosiaPro | MethodName::Losia => UpdateType::Asynchronous,
    };
    let config = LosiaConfig::new(total_steps)
        .with_rank_factor(args.rank_factor)
        .with_period(args.period)
        .with_output_head(Some(head.into()))
        .with_output_dim_factor(args.output_dim_factor)
        .with_learning_rate(args.learning_rate())
        .with_lr_scheduler(LrScheduler::CosineRestarts)
        .with_update_type(update_type)
        .with_pro(args.method != MethodName::Losia)
        .with_seed(args.seed);
    let json = serde_json::to_value(&config).unwrap_or_default();
    Ok((Box::new(Losia::new(config)?), json))
}

fn lora_config(args: &Args, total_steps: usize) -> LoraConfig {
    LoraConfig::new(total_steps)
        .with_target_modules(TargetModules::Pattern(LAYERS.into()))
        .with_r(args.rank)
        .with_lora_alpha(2.0 * args.rank as f64)
        .with_learning_rate(args.learning_rate())
        .with_seed(args.seed)
}

fn lora(config: LoraConfig) -> Result<(Box<dyn Method>, Value), Error> {
    let json = serde_json::to_value(&config).unwrap_or_default();
    Ok((Box::new(Lora::new(config)?), json))
}

fn adalora(args: &Args, total_steps: usize) -> Result<(Box<dyn Method>, Value), Error> {
    let config = AdaLoraConfig::new(total_steps)
        .with_target_modules(TargetModules::Pattern(LAYERS.into()))
        .with_init_r(args.rank + args.rank.div_ceil(2))
        .with_target_r(args.rank)
        .with_tinit(total_steps / 10)
        .with_tfinal(total_steps / 4)
        .with_delta_t((total_steps / 40).max(1))
        .with_lora_alpha(2.0 * args.rank as f64)
        .with_learning_rate(args.learning_rate())
        .with_seed(args.seed);
    let json = serde_json::to_value(&config).unwrap_or_default();
    Ok((Box::new(AdaLora::new(config)?), json))
}
