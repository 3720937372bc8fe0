//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Fine-tunes LLaMA and Gemma models from one config file: with LoSiA, LoSiA-Pro, AdaLoRA, LoRA,
/// DoRA, PiSSA, or full fine-tuning.
#[derive(Parser)]
#[command(name = "burn-peft", version, verbatim_doc_comment, after_help = OVERVIEW)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const OVERVIEW: &str = "\
A first run, on the small model of the repository, in about a minute:
  burn-peft train configs/tiny.toml --dry-run    what would be done
  burn-peft train configs/tiny.toml              do it
  burn-peft inspect runs/tiny                    what came of it
  burn-peft generate --model runs/tiny/final 'your prompt'

Exit codes: 0 done, 1 training failed, 2 what was asked for cannot be done, 130 interrupted.";

#[derive(Subcommand)]
pub enum Command {
    /// Fine-tune a model as a config file says.
    Train(TrainArgs),
    /// Go on with a run that was interrupted, killed, or stopped by an error.
    Resume(ResumeArgs),
    /// Continue a prompt with a model, with or without an adapter.
    Generate(GenerateArgs),
    /// Fold an adapter into its base model.
    Merge(MergeArgs),
    /// Say what a model, adapter, checkpoint or run holds, and check all of it.
    Inspect(InspectArgs),
    /// Print the JSON schema of config files: all settings, with descriptions.
    Schema,
    /// Print a script by which a shell completes this command.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const COMPLETIONS: &str = "\
Examples:
  burn-peft completions bash > ~/.local/share/bash-completion/completions/burn-peft
  burn-peft completions zsh > ~/.zfunc/_burn-peft";

#[derive(Args)]
#[command(after_help = TRAIN)]
pub struct TrainArgs {
    /// Config file (TOML).
    pub config: PathBuf,
    /// Settings that go before those of the file, as `key=value`.
    #[arg(value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Check everything and print the plan, but train nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Plain lines of progress even on a terminal.
    #[arg(long)]
    pub plain: bool,
}

const TRAIN: &str = "\
Everything that can be checked is checked before weights are loaded: settings, paths, the headers
of the checkpoint, what the method takes of it, the data, schedules with the real number of steps,
memory. Where `method` is given here, the file's settings for its own method alone are left out.

The run writes into its `output_dir`
  config.toml                the settings, defaults filled in
  run.json, metrics.jsonl    for programs
  report.md                  for people
  checkpoint-STEPS/          where a resume goes on
  adapter/                   what training changed
  final/                     the merged model, as transformers reads it

Ctrl-C, SIGTERM or SIGHUP stop after the present step and write a checkpoint; a second one stops at
once. Under nohup, SIGHUP does nothing.

Examples:
  burn-peft train configs/losia_pro_llama2_7b.toml --dry-run
  burn-peft train configs/tiny.toml method=lora lora_r=16 output_dir=runs/lora
  burn-peft train run.toml 'target_modules=[\"q_proj\", \"v_proj\"]' learning_rate=1e-4";

#[derive(Args)]
#[command(after_help = RESUME)]
pub struct ResumeArgs {
    /// Output folder of the run.
    pub run: PathBuf,
    /// Plain lines of progress even on a terminal.
    #[arg(long)]
    pub plain: bool,
}

const RESUME: &str = "\
The run goes on from its newest whole checkpoint; damaged ones are named and passed over. On the
CPU it ends with the same weights, bit for bit, as if it had never stopped. Another base model,
tokenizer or data than the run began with is refused.

Example:
  burn-peft resume runs/tiny";

#[derive(Args)]
#[command(after_help = GENERATE)]
pub struct GenerateArgs {
    /// Folder of the model: a base model, or a merged one.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Folder of an adapter for it, or a run's `checkpoint-STEPS`.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// The prompt, verbatim. Without it, or with `-`, it is read from standard input.
    pub prompt: Option<String>,
    /// Longest continuation, in tokens.
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// Temperature of the sampling. 0: always the most likely token.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Sample from the most likely tokens that reach this probability.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub top_p: f64,
    /// Text in front of which the continuation ends; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Seed of the sampling: the same seed gives the same text.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Device: auto, flex, ndarray, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

const GENERATE: &str = "\
Only the continuation is printed. A model that was trained on instructions wants its prompt in the
form it was trained with.

Examples:
  burn-peft generate --model runs/tiny/final \\
      $'### Instruction:\\nGive the second word.\\n\\n### Input:\\nfox cup\\n\\n### Response:\\n'
  burn-peft generate --model models/Llama-2-7b-hf --adapter runs/lora/adapter --temperature 0.8 \\
      --top-p 0.95 --seed 1 --stop '###' < prompt.txt";

#[derive(Args)]
#[command(after_help = MERGE)]
pub struct MergeArgs {
    /// Folder of the base model.
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// Folder of an adapter, PEFT's or LoSiA's, or a run's `checkpoint-STEPS`.
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// Folder for the merged model, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Device: auto, flex, ndarray, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

const MERGE: &str = "\
The merged model has the type of the base, and its tokenizer. Above 5 GB it is split into several
files with an index, as Hugging Face does.

A checkpoint is merged as a resume would go on from it: the base must be its run's, and config.toml
must lie in the folder around it. AdaLoRA has no ranks to merge before its last cut.

Examples:
  burn-peft merge --base models/Llama-2-7b-hf --adapter runs/lora/adapter --out models/mine
  burn-peft merge --base assets/tiny-llama --adapter runs/tiny/checkpoint-300 --out models/best";

#[derive(Args)]
#[command(after_help = INSPECT)]
pub struct InspectArgs {
    /// Folder of a model, an adapter, a checkpoint or a run.
    pub path: PathBuf,
    /// Folder of the base model that an adapter, checkpoint or run must fit.
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Config file whose method is asked about a model, or whose base is to fit.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Device: auto, flex, ndarray, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

const INSPECT: &str = "\
Every byte is read: names, shapes and types of tensors, whether they are finite, the index of
shards, the tokenizer, hashes of checkpoints. Whatever is broken, missing or does not fit is refused
by name, with exit code 2. Of a model, `--config` tells what its method would take; an adapter,
checkpoint or run is compared with its base model.

Examples:
  burn-peft inspect models/Llama-2-7b-hf --config configs/losia_pro_llama2_7b.toml
  burn-peft inspect runs/lora/adapter --base models/Llama-2-7b-hf
  burn-peft inspect runs/lora";
