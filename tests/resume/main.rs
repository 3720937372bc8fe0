//! What a run survives: stops, damaged checkpoints, numbers that are not finite, full disks.
//! Wherever it goes on from, it ends with the same bits as an uninterrupted one.

mod accumulation;
mod devices;
mod evaluations;
mod exact;
mod failures;
mod interrupts;
mod nonfinite;
mod output_folder;
mod precision;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::adapter::lora::{Lora, LoraConfig};
use burn_peft::core::schedule::DenseSchedule;
use burn_peft::core::{Method, TunerConfig};
use burn_peft::llama::CausalLm;
use burn_peft::train::Error;
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::run::{Finished, Run, RunPlan, TrainConfig};
use serde_json::{Value, json};
use support::{PERIOD, SAMPLES, model, plan, train_config};

/// Steps of the runs here.
const STEPS: usize = 18;

/// Dropout draws from the device's generator, which a process has one of: runs take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A method for a run of that many steps, and its configuration.
type Make<'a> = &'a dyn Fn(usize) -> (Box<dyn Method>, Value);

fn losia(total: usize) -> (Box<dyn Method>, Value) {
    support::losia(total, PERIOD)
}

fn dora_with_dropout(total: usize) -> (Box<dyn Method>, Value) {
    let dora =
        LoraConfig::new(total).with_learning_rate(5e-3).with_use_dora(true).with_lora_dropout(0.2);
    let config = serde_json::to_value(&dora).unwrap();
    (Box::new(Lora::new(dora).unwrap()), config)
}

fn adalora_with_dropout(total: usize) -> (Box<dyn Method>, Value) {
    let adalora = AdaLoraConfig::new(total)
        .with_init_r(4)
        .with_target_r(2)
        .with_tinit(2)
        .with_tfinal(5)
        .with_delta_t(3)
        .with_learning_rate(5e-3)
        .with_lora_dropout(0.2);
    let config = serde_json::to_value(&adalora).unwrap();
    (Box::new(AdaLora::new(adalora).unwrap()), config)
}

fn full(total: usize) -> (Box<dyn Method>, Value) {
    let schedule = DenseSchedule::new(total, 0.1, 0.1);
    let full = Full { learning_rate: 1e-3, schedule, target_modules: None };
    (Box::new(full), json!({ "learning_rate": 1e-3 }))
}

/// The plan most tests begin with: three epochs, no checkpoints.
fn planned<'a>(make: Make, out: &'a Path, resume: Option<&'a Path>) -> RunPlan<'a> {
    plan(make(STEPS), train_config(3), out, resume)
}

/// That plan with other settings.
fn configured<'a>(make: Make, out: &'a Path, change: &dyn Fn(&mut TrainConfig)) -> RunPlan<'a> {
    let mut plan = planned(make, out, None);
    change(&mut plan.config);
    plan
}

/// That plan with checkpoints.
fn saving<'a>(make: Make, out: &'a Path, every: usize) -> RunPlan<'a> {
    configured(make, out, &|config| config.save_steps = NonZeroUsize::new(every))
}

/// The plan, without densely trained modules beside full fine-tuning.
fn only(mut plan: RunPlan<'_>) -> RunPlan<'_> {
    if plan.method.name() == "full" {
        plan.tuner_config = TunerConfig::default();
    }
    plan
}

fn launch(plan: RunPlan) -> Result<Finished, Error> {
    launch_on(model(), plan)
}

fn launch_on(model: CausalLm, plan: RunPlan) -> Result<Finished, Error> {
    Run::new(model, plan)?.launch(Some(lines(std::io::sink())))
}

fn lines(sink: impl Write + Send + Sync + 'static) -> Box<dyn MetricsRenderer> {
    let options = LinesOptions::new(&train_config(3), SAMPLES);
    Box::new(LinesRenderer::new(sink, options))
}

/// Stops the run as soon as a line of progress says `at`.
struct StopAt {
    at: &'static str,
    interrupter: Interrupter,
}

impl Write for StopAt {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if String::from_utf8_lossy(bytes).contains(self.at) {
            self.interrupter.stop(Some("the test says so"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn checkpoint(out: &Path, steps: usize) -> PathBuf {
    out.join(format!("checkpoint-{steps}"))
}

/// Steps of the checkpoints in an output folder.
fn checkpoints(out: &Path) -> Vec<usize> {
    let names = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name());
    let steps = names.filter_map(|name| name.to_str()?.strip_prefix("checkpoint-")?.parse().ok());
    let mut steps: Vec<usize> = steps.collect();
    steps.sort_unstable();
    steps
}

/// The lines of `metrics.jsonl`.
fn metrics(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `metrics.jsonl` says beside times.
fn course(out: &Path) -> Vec<[Value; 6]> {
    let keys = ["step", "windows", "loss", "eval_loss", "skipped", "skipped_steps"];
    metrics(out).iter().map(|line| keys.map(|key| line[key].clone())).collect()
}
