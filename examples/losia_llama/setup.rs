//! From arguments to a model, its data and its method.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use burn_peft::core::TargetModules;
use burn_peft::core::schedule::{LrScheduler, UpdateType};
use burn_peft::llama::{CausalLm, Checkpoint, Tokenizer};
use burn_peft::train::Error;
use burn_peft::train::config::TrainingConfig;
use burn_peft::train::data::{Dataset, DatasetConfig, Example, epoch_order, read_jsonl};
use burn_peft::train::plan::MethodSettings;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

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

fn read(path: &Path, skip_bad_lines: bool) -> Result<Dataset, Error> {
    let dataset = read_jsonl(path, None, skip_bad_lines)?;
    if dataset.skipped > 0 {
        println!("note    {} malformed lines of {} left out", dataset.skipped, path.display());
    }
    Ok(dataset)
}

/// What was typed as a configuration of the library.
pub fn config(args: &Args) -> TrainingConfig {
    let datasets = vec![DatasetConfig::new(args.data.display().to_string())];
    let typed = TrainingConfig::new(&args.model, args.method.into(), datasets, &args.out);
    TrainingConfig {
        micro_batch_size: args.batch,
        gradient_accumulation_steps: args.accumulate,
        num_epochs: args.epochs,
        max_steps: args.max_steps.and_then(NonZeroUsize::new),
        learning_rate: Some(args.learning_rate()),
        seed: args.seed,
        group_by_length: true,
        save_steps: args.save_steps,
        save_total_limit: args.save_total_limit,
        overwrite_output_dir: args.overwrite_output_dir,
        ..typed
    }
}

/// The settings of the method, which for AdaLoRA depend on the length of the run.
pub fn method(
    args: &Args,
    typed: &TrainingConfig,
    total_steps: usize,
    head: &str,
) -> MethodSettings {
    let mut typed = typed.clone();
    match args.method {
        MethodName::LosiaPro | MethodName::Losia | MethodName::FixedSubnets => {
            typed.rank_factor = Some(args.rank_factor);
            typed.period = Some(args.period);
            typed.output_dim_factor = Some(args.output_dim_factor);
            typed.lr_scheduler = Some(LrScheduler::CosineRestarts);
            typed.update_type =
                (args.method == MethodName::FixedSubnets).then_some(UpdateType::Fixed);
        }
        MethodName::Lora | MethodName::Dora | MethodName::Pissa => {
            typed.lora_r = Some(args.rank);
            typed.lora_alpha = Some(2.0 * args.rank as f64);
        }
        MethodName::Adalora => {
            typed.init_r = Some(args.rank + args.rank.div_ceil(2));
            typed.target_r = Some(args.rank);
            typed.tinit = Some(total_steps / 10);
            typed.tfinal = Some(total_steps / 4);
            typed.delta_t = Some((total_steps / 40).max(1));
            typed.lora_alpha = Some(2.0 * args.rank as f64);
        }
        MethodName::Full => typed.target_modules = Some(TargetModules::Pattern(LAYERS.into())),
        MethodName::FullAll => {}
    }
    MethodSettings::resolve(&mut typed, total_steps, head)
}
