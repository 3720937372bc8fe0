//! From a plan to a run that is ready: every refusal comes before the first step.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Device;
use burn::train::Interrupter;
use peft_core::{Method, Tuner, TunerConfig};
use peft_llama::CausalLm;

use super::checkpoint::{self, Progress, Restored};
use super::config::TrainConfig;
use super::finish::PROBE_TOKENS;
use super::journal::Journal;
use super::launch::Run;
use super::lock::OutputLock;
use super::loss_scale::LossScale;
use super::plan::RunPlan;
use super::saver::{Best, Saver};
use super::session::Session;
use super::state::{Skips, State};
use super::training::Training;
use super::validation::Validation;
use super::window::Window;
use crate::Error;
use crate::data::{BatchLoader, Sample};
use crate::report::{History, MetricsLog};
use crate::staged;

pub(super) fn prepare(model: CausalLm, plan: RunPlan<'_>) -> Result<Run, Error> {
    let devices = devices(&model, &plan)?;
    check_schedules(&plan)?;
    let (lock, replaced) = claim(plan.output_dir, plan.resume_from, &plan.config)?;
    let samples = plan.train_samples.len();
    let identity = plan.identity(&model);
    let RunPlan { method, tuner_config, config, train_samples, valid_samples, .. } = plan;
    let (output_dir, resume_from) = (plan.output_dir, plan.resume_from);

    let tuner_config = TunerConfig { max_grad_norm: config.max_grad_norm, ..tuner_config };
    let attached = attach(method, tuner_config, &config, model.train(), |optim| {
        resume_from.map(|dir| checkpoint::read(dir, &identity, optim)).transpose()
    })?;
    let Attached { model, tuner, optim, progress } = attached;
    // Only a run that was accepted replaces another.
    replaced.iter().try_for_each(|path| staged::remove(path))?;
    let (log, best) = match resume_from {
        Some(_) => resume_log(output_dir, progress.windows())?,
        None => (MetricsLog::create(output_dir)?, None),
    };
    let saver = Saver {
        output_dir: output_dir.into(),
        run: identity,
        limit: config.save_total_limit,
        last: resume_from.map(|path| (progress, path.to_owned())),
        best,
    };
    let probe = probe(&train_samples);
    let validation = Validation::of(valid_samples.len());
    let [train, valid] = loaders(&config, train_samples, valid_samples, &devices[0]);
    let session = Session::new(State {
        tuner,
        config,
        device: devices[0].clone().inner(),
        samples,
        journal: Journal::new(log),
        saver,
        validation,
        interrupter: Interrupter::new(),
        skips: Skips { total: progress.skipped_steps, in_a_row: 0 },
        loss_scale: progress.loss_scale,
        tokens: 0,
        window: Window::default(),
        passes: 0,
        optim: Some(optim),
        probe,
        error: None,
        _lock: lock,
    });
    Ok(Run { model, training: Training { session, train, valid, devices } })
}

/// The devices to train on, that of the model first.
fn devices(model: &CausalLm, plan: &RunPlan<'_>) -> Result<Vec<Device>, Error> {
    let of_model = model.model.embed_tokens.weight.base().device().inner();
    let devices = match plan.devices.is_empty() {
        true => vec![of_model.clone()],
        false => plan.devices.iter().map(|device| device.clone().inner()).collect(),
    };
    let (expected, samples) = (plan.config.data_parallel_size.get(), plan.train_samples.len());
    if devices.len() != expected {
        return Err(Error::DataParallelSize { devices: devices.len(), expected });
    }
    if devices[0] != of_model {
        let [model, first] = [&of_model, &devices[0]].map(|device| format!("{device:?}"));
        return Err(Error::MainDevice { model, first });
    }
    if expected > 1 && samples < expected {
        return Err(Error::FewSamples { samples, devices: expected });
    }
    Ok(devices.into_iter().map(Device::autodiff).collect())
}

/// Schedules that end before or after the run would train something else than was asked for.
fn check_schedules(plan: &RunPlan<'_>) -> Result<(), Error> {
    let run = plan.config.total_steps(plan.train_samples.len());
    match plan.method.total_steps() {
        Some(method) if method != run => Err(Error::TotalSteps { method, run }),
        _ => Ok(()),
    }
}

/// Makes the output folder this run's own. Beside the lock, the checkpoints of another run that this
/// one is to replace.
fn claim(
    output_dir: &Path,
    resume: Option<&Path>,
    config: &TrainConfig,
) -> Result<(OutputLock, Vec<PathBuf>), Error> {
    std::fs::create_dir_all(output_dir).map_err(Error::write(output_dir))?;
    let lock = OutputLock::take(output_dir)?;
    if resume.and_then(Path::parent).is_some_and(|from| is_same(from, output_dir)) {
        return Ok((lock, Vec::new()));
    }
    let earlier: Vec<_> = checkpoint::list(output_dir)?.into_iter().map(|(_, dir)| dir).collect();
    match earlier.last().filter(|_| !config.overwrite_output_dir) {
        Some(newest) => {
            let (path, checkpoint) = (output_dir.into(), newest.clone());
            Err(Error::OutputDirInUse { path, checkpoint })
        }
        None => Ok((lock, earlier)),
    }
}

/// Whether two paths lead to the same place.
pub(crate) fn is_same(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(std::fs::canonicalize);
    a.is_ok_and(|a| b.is_ok_and(|b| a == b))
}

/// A method on its model, and where a checkpoint left both.
struct Attached {
    model: CausalLm,
    tuner: Tuner,
    optim: ModuleOptimizer,
    progress: Progress,
}

/// Attaches the method, from the start or from what `restore` reads into the optimizer.
fn attach(
    method: Box<dyn Method>,
    tuner_config: TunerConfig,
    config: &TrainConfig,
    model: CausalLm,
    restore: impl FnOnce(ModuleOptimizer) -> Result<Option<Restored>, Error>,
) -> Result<Attached, Error> {
    let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(config.weight_decay);
    match restore(adamw.init())? {
        Some(Restored { record, optim, progress }) => {
            let (tuner, model) = Tuner::resume(method, tuner_config, model, &record)?;
            Ok(Attached { model, tuner, optim, progress })
        }
        None => {
            let loss_scale = LossScale::of(model.model.embed_tokens.weight.base().dtype());
            let progress = Progress { steps: 0, skipped_steps: 0, loss_scale };
            let (tuner, model) = Tuner::attach(method, tuner_config, model)?;
            Ok(Attached { model, tuner, optim: adamw.init(), progress })
        }
    }
}

/// What is trained on, and what is validated on.
fn loaders(
    config: &TrainConfig,
    train: Vec<Sample>,
    valid: Vec<Sample>,
    device: &Device,
) -> [BatchLoader; 2] {
    let loader = |samples| BatchLoader::new(samples, config.micro_batch_size, device.clone());
    let train = loader(train)
        .shuffled(config.seed)
        .grouped_by_length(config.group_by_length)
        .in_steps_of(config.batches_per_step())
        .dealt_to(config.data_parallel_size);
    [train, loader(valid)]
}

/// The log as it was after `windows` steps, taken or skipped, and the lowest validation loss it
/// knows.
fn resume_log(output_dir: &Path, windows: usize) -> Result<(MetricsLog, Option<Best>), Error> {
    let log = MetricsLog::resume(output_dir, windows as u64)?;
    let evaluations = History::read(output_dir)?.evaluations.into_iter();
    let best = evaluations.min_by(|(_, a), (_, b)| a.total_cmp(b));
    Ok((log, best.map(|(steps, eval_loss)| Best { eval_loss, steps })))
}

/// The beginning of a sample.
fn probe(samples: &[Sample]) -> Vec<u32> {
    let ids = samples.first().map(|sample| sample.input_ids.iter().take(PROBE_TOKENS).copied());
    ids.map(Iterator::collect).unwrap_or_default()
}
