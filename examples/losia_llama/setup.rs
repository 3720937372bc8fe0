//! From arguments to a configuration of the library.

use std::error::Error;
use std::path::{Path, PathBuf};

use burn_peft::core::TargetModules;
use burn_peft::core::schedule::UpdateType;
use burn_peft::train::config::{TrainingConfig, TypedConfig};
use burn_peft::train::data::DatasetConfig;
use burn_peft::train::plan::{Plan, resumed};

use crate::args::{Args, MethodName};
use crate::common::Refusal;

/// The repository's own training data, whose held-back part is a file beside it.
const OWN_DATA: &str = "assets/tasks/train.jsonl";
const OWN_HELD_BACK: &str = "assets/tasks/held_back.jsonl";
/// Share of other data that is held back.
const HELD_BACK: f64 = 0.05;
/// The linear modules of the layers: what LoSiA has subnets in.
const LAYERS: &str = r".*\.(self_attn|mlp)\..*";

/// What was typed as a configuration of the library.
pub fn config(args: &Args) -> Result<TypedConfig, Box<dyn Error>> {
    let dataset = |path: &Path| DatasetConfig::new(path.display().to_string());
    let typed =
        TrainingConfig::new(&args.model, args.method.into(), vec![dataset(&args.data)], args.out());
    let held_back = held_back(args);
    let mut config = TrainingConfig {
        dtype: args.dtype(),
        device: args.device.as_str().into(),
        val_set_size: if held_back.is_none() { HELD_BACK } else { 0.0 },
        test_datasets: held_back.as_deref().map(dataset).into_iter().collect(),
        eval_max_new_tokens: args.max_new_tokens,
        sequence_len: args.sequence_len,
        skip_bad_lines: args.skip_bad_lines,
        group_by_length: true,
        micro_batch_size: args.batch,
        gradient_accumulation_steps: args.accumulate,
        num_epochs: args.epochs,
        max_steps: args.max_steps,
        learning_rate: args.learning_rate(),
        seed: args.seed,
        save_steps: args.save_steps,
        save_total_limit: args.save_total_limit,
        overwrite_output_dir: args.overwrites(),
        ..typed
    };
    set_method(args, &mut config)?;
    if args.resume {
        config.resume_from_checkpoint = Some(newest(args.out())?);
    }
    Ok(config.into())
}

/// What to measure with, if that is a file of its own.
fn held_back(args: &Args) -> Option<PathBuf> {
    let own = args.data == Path::new(OWN_DATA);
    args.eval_data.clone().or_else(|| own.then(|| OWN_HELD_BACK.into()))
}

fn set_method(args: &Args, config: &mut TrainingConfig) -> Result<(), Box<dyn Error>> {
    let alpha = Some(2.0 * args.rank as f64);
    match args.method {
        MethodName::LosiaPro | MethodName::Losia | MethodName::FixedSubnets => {
            config.rank_factor = Some(args.rank_factor);
            config.period = Some(args.period);
            config.output_dim_factor = Some(args.output_dim_factor);
            let fixed = args.method == MethodName::FixedSubnets;
            config.update_type = fixed.then_some(UpdateType::Fixed);
        }
        MethodName::Lora | MethodName::Dora | MethodName::Pissa => {
            (config.lora_r, config.lora_alpha) = (Some(args.rank), alpha);
        }
        MethodName::Adalora => {
            let steps = steps(config)?;
            config.init_r = Some(args.rank + args.rank.div_ceil(2));
            config.target_r = Some(args.rank);
            config.tinit = Some(steps / 10);
            config.tfinal = Some(steps / 4);
            config.delta_t = Some((steps / 40).max(1));
            config.lora_alpha = alpha;
        }
        MethodName::Full => config.target_modules = Some(TargetModules::Pattern(LAYERS.into())),
        MethodName::FullAll => {}
    }
    Ok(())
}

/// Steps of the run, by which AdaLoRA's schedule is set.
fn steps(config: &TrainingConfig) -> Result<usize, Box<dyn Error>> {
    let counted = TrainingConfig { overwrite_output_dir: true, ..config.clone() }; // and not run
    Ok(Plan::new(&counted.into())?.steps().total)
}

/// The newest whole checkpoint of the run in the output folder.
fn newest(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let (run, passed_over) = resumed(out)?;
    for reason in passed_over {
        println!("note     passed over: {reason}");
    }
    run.config.resume_from_checkpoint.ok_or_else(|| {
        let reason = format!("no checkpoint in `{}` to go on from", out.display());
        Refusal { reason, hint: "leave out --resume, or name the run's folder with --out" }.into()
    })
}
