//! From a configuration to a run, everything that can be checked first.
//!
//! A [`Plan`] is made without loading a weight: paths, the headers of the checkpoint, what the method
//! takes of it, the data, schedules with the real number of steps, and memory. [`Plan::load`] then
//! loads the base, and [`Training::launch`] trains it and writes everything.
//!
//! ```no_run
//! use peft_train::config::TypedConfig;
//! use peft_train::plan::Plan;
//!
//! let typed = TypedConfig::read("configs/tiny.toml", &["max_steps=20".into()])?;
//! let plan = Plan::new(&typed)?;
//! println!("{plan}");
//! let training = plan.load(&mut |_| {})?;
//! let outcome = training.launch(None, &mut |_| {})?;
//! println!("{:?} after {} steps", outcome.status, outcome.steps);
//! # Ok::<(), peft_train::Error>(())
//! ```

mod base;
mod checkpoint;
mod data;
mod display;
mod load;
mod measure;
mod memory;
mod method;
mod output;
mod resume;
mod schedule;
mod slots;
#[cfg(test)]
pub(crate) mod testing;
mod training;

use std::num::NonZeroUsize;

use peft_core::{Outline, TunerConfig};

use crate::Error;
use crate::config::{Problem, Problems, TrainingConfig, TypedConfig};
use crate::run::TrainConfig;
use base::Base;
pub(crate) use base::output_head;
pub use checkpoint::CheckpointSize;
use data::Data;
pub(crate) use display::adapted;
pub use memory::{Available, MemoryEstimate};
pub use method::MethodSettings;
pub(crate) use method::typed_key;
pub use resume::resumed;
pub use schedule::Steps;
use slots::SlotPlan;
pub use training::{Activity, Outcome, Training};

/// A run whose base model is not loaded yet, but of which all else is known and in order.
#[derive(Debug)]
pub struct Plan {
    config: TrainingConfig,
    base: Base,
    data: Data,
    method: MethodSettings,
    outline: Outline,
    slots: Option<SlotPlan>,
    steps: Steps,
    memory: MemoryEstimate,
    available: Option<Available>,
    notes: Vec<String>,
}

impl Plan {
    /// Plans the run that `typed` configures.
    ///
    /// # Errors
    /// [`Error::Config`] with all that is wrong as far as it can be told at once: first what needs no
    /// data (the base model, the device, the output folder), then the data, then what depends on the
    /// number of steps, then whether the checkpoint to go on from belongs to the run.
    pub fn new(typed: &TypedConfig) -> Result<Self, Error> {
        typed.check()?;
        let mut config = typed.config.clone();
        let base = base::open(typed, &mut config);
        let output = output::check(typed);
        let (base, ()) = both(base, output)?;
        let data = data::read(typed, &config, &base)?;
        let steps = steps(&config, data.train.len());
        let head = base.output_head();
        let method = MethodSettings::resolve(&mut config, steps.total, head);
        let (outline, slots) = attach(typed, &method, &config, &base, steps)?;
        let memory = memory::estimate(&method, &config, &base, &outline, slots, data.longest());
        let available = Available::on(base.device());
        let mut notes = [
            typed.notes(),
            base.notes(),
            data.notes(config.val_set_size),
            schedule::notes(&method, slots, steps),
            output::notes(&config),
        ]
        .concat();
        notes.extend(memory::check(typed, memory, available)?);
        let plan = Self {
            config: resume::with_absolute_paths(config),
            base,
            data,
            method,
            outline,
            slots,
            steps,
            memory,
            available,
            notes,
        };
        resume::check(typed, &plan)?;
        Ok(plan)
    }

    /// The configuration, with defaults filled in and paths that hold from anywhere.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// What the method takes of the base model.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The steps of the run.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// The memory a step needs, and how much there is, where that is known.
    pub fn memory(&self) -> (MemoryEstimate, Option<Available>) {
        (self.memory, self.available)
    }

    /// How large a checkpoint is.
    pub fn checkpoint_size(&self) -> CheckpointSize {
        CheckpointSize::new(&self.method, &self.outline, self.slots)
    }

    /// What is allowed, but may not be meant.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What a run does beside its method.
pub(crate) fn tuner_config(config: &TrainingConfig) -> TunerConfig {
    TunerConfig { modules_to_save: config.modules_to_save.clone(), ..TunerConfig::default() }
}

impl TrainingConfig {
    /// Batches, epochs, logs and checkpoints, as a [`Run`](crate::run::Run) takes them.
    pub fn train_config(&self) -> TrainConfig {
        let devices = NonZeroUsize::new(self.device.names().len());
        TrainConfig {
            micro_batch_size: self.micro_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            data_parallel_size: devices.unwrap_or(NonZeroUsize::MIN),
            num_epochs: self.num_epochs,
            max_steps: self.max_steps.map(Into::into),
            max_grad_norm: (self.max_grad_norm > 0.0).then_some(self.max_grad_norm),
            weight_decay: self.weight_decay as f32,
            seed: self.seed,
            group_by_length: self.group_by_length,
            logging_steps: self.logging_steps,
            eval_steps: self.eval_steps,
            early_stopping_patience: self.early_stopping_patience,
            save_steps: NonZeroUsize::new(self.save_steps),
            save_total_limit: NonZeroUsize::new(self.save_total_limit),
            overwrite_output_dir: self.overwrite_output_dir,
            max_nonfinite_steps: self.max_nonfinite_steps,
        }
    }
}

fn steps(config: &TrainingConfig, samples: usize) -> Steps {
    let train = config.train_config();
    Steps { samples, per_epoch: train.steps_per_epoch(samples), total: train.total_steps(samples) }
}

/// What the method takes of the base, by attaching it to one without weights.
fn attach(
    typed: &TypedConfig,
    method: &MethodSettings,
    config: &TrainingConfig,
    base: &Base,
    steps: Steps,
) -> Result<(Outline, Option<SlotPlan>), Error> {
    let attached = || {
        let mut built = method.build()?;
        let outline = Outline::new(&mut *built, &tuner_config(config), &base.catalogue)?;
        let slots = match method {
            MethodSettings::Losia(losia) => Some(SlotPlan::new(losia, &base.catalogue)?),
            _ => None,
        };
        Ok((outline, slots))
    };
    attached().map_err(|error: peft_core::Error| {
        let Problem { place, message, hint } = typed.method_problem(&error);
        let steps = || format!("steps of this run: {}", steps.describe(config));
        Problems(vec![Problem { place, message, hint: hint.or_else(|| Some(steps())) }]).into()
    })
}

/// Both, or the problems of both.
fn both<A, B>(a: Result<A, Vec<Problem>>, b: Result<B, Vec<Problem>>) -> Result<(A, B), Error> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => {
            let problems = [a.err(), b.err()].into_iter().flatten().flatten();
            Err(Problems(problems.collect()).into())
        }
    }
}

/// An error as a problem of the setting `key`.
fn problem(typed: &TypedConfig, key: &str, error: impl Into<Error>) -> Problem {
    let error = error.into();
    typed.problem(key, error.to_string(), error.hint())
}
