//! From a plan to a run that is ready: every refusal comes before the first step.

use std::path::Path;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use burn::train::Interrupter;
use peft_core::{Method, Tuner, TunerConfig};
use peft_llama::CausalLm;

use super::checkpoint::{self, Progress, Restored};
use super::claim::Claim;
use super::config::TrainConfig;
use super::evaluations::Evaluations;
use super::journal::Journal;
use super::launch::Run;
use super::loss_scale::LossScale;
use super::optimizer::adamw;
use super::plan::RunPlan;
use super::saver::Saver;
use super::session::Session;
use super::state::{Skips, State};
use super::training::Training;
use super::validation::Validation;
use super::window::Window;
use crate::Error;
use crate::data::{BatchLoader, Sample};
use crate::panics::on_device;
use crate::report::MetricsLog;
use crate::verify::Answer;

/// Samples among which a model must have an answer to one.
const PROBES: usize = 8;

/// The output folder is taken here, unless it was by `claim`.
pub(super) fn prepare(
    model: CausalLm,
    plan: RunPlan<'_>,
    claim: Option<Claim>,
) -> Result<Run, Error> {
    let devices = devices(&model, &plan)?;
    check_schedules(&plan)?;
    check_validation(&plan)?;
    let claim = claim.map_or_else(|| Claim::of(&plan), Ok)?;
    let samples = plan.train_samples.len();
    let identity = plan.identity(&model);
    let RunPlan { method, tuner_config, config, train_samples, valid_samples, .. } = plan;
    let (output_dir, resume_from) = (plan.output_dir, plan.resume_from);

    let tuner_config = TunerConfig { max_grad_norm: config.max_grad_norm, ..tuner_config };
    let attached = attach(method, tuner_config, &config, model.train(), |optim| {
        resume_from.map(|dir| checkpoint::read(dir, &identity, optim)).transpose()
    })?;
    let Attached { model, tuner, optim, progress } = attached;
    let probe = probe(&model, &train_samples)?;
    let goes_on = claim.goes_on;
    let lock = claim.replace_earlier()?; // only a run that was accepted replaces another
    let validation = Validation::on(&valid_samples);
    let (log, evaluations, damaged) = match goes_on {
        true => resume_log(output_dir, progress, &validation.sha256)?,
        false => (MetricsLog::create(output_dir)?, Evaluations::after(progress.windows()), None),
    };
    let saver = Saver {
        output_dir: output_dir.into(),
        run: identity,
        limit: config.save_total_limit,
        last: resume_from.map(|path| (progress, path.to_owned())),
        best: evaluations.best.map(|best| best.steps),
    };
    let [train, valid] = loaders(&config, train_samples, valid_samples, &devices[0]);
    let session = Session::new(State {
        tuner,
        config,
        device: devices[0].clone().inner(),
        samples,
        journal: Journal::new(log, &devices),
        saver,
        validation,
        evaluations,
        interrupter: Interrupter::new(),
        skips: Skips { total: progress.skipped_steps, in_a_row: 0 },
        loss_scale: progress.loss_scale,
        tokens: 0,
        window: Window::default(),
        passes: 0,
        optim: Some(optim),
        probe,
        notes: damaged
            .into_iter()
            .map(|line| format!("the log was cut at a damaged line: {line}"))
            .collect(),
        error: None,
        _lock: lock,
    });
    let training = training(session, [train, valid], devices);
    Ok(Run { model, training, about: None })
}

/// The first sample to which `model` has a finite answer.
///
/// # Errors
/// Without one among the first few: the base is damaged, or its type too narrow for it.
fn probe(model: &CausalLm, samples: &[Sample]) -> Result<Vec<u32>, Error> {
    for sample in samples.iter().take(PROBES) {
        if on_device(|| Answer::to(model, &sample.input_ids).is_finite())? {
            return Ok(sample.input_ids.clone());
        }
    }
    Err(peft_llama::Error::Logits.into())
}

/// The loaders ask the session what the Learner is to get.
fn training(session: Session, [train, valid]: [BatchLoader; 2], devices: Vec<Device>) -> Training {
    let [of_train, of_valid] = [session.clone(), session.clone()];
    let train = train.yielding(move || of_train.lock().train_part());
    let valid = valid.yielding(move || of_valid.lock().valid_part());
    Training { session, train: train.into(), valid: valid.into(), devices }
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

/// Validations that were asked for would not take place, or end a run before its method is done.
fn check_validation(plan: &RunPlan<'_>) -> Result<(), Error> {
    if plan.config.early_stopping_patience.is_some() && !plan.method.may_end_early() {
        return Err(Error::EarlyStopping { method: plan.method.name() });
    }
    match plan.config.asks_for_validation().filter(|_| plan.valid_samples.is_empty()) {
        Some((key, value)) => Err(Error::NoValidation { key, value }),
        None => Ok(()),
    }
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
    let optim = adamw(&model, config.weight_decay)?;
    match restore(optim.clone())? {
        Some(Restored { record, optim, progress }) => {
            let (tuner, model) = Tuner::resume(method, tuner_config, model, &record)?;
            Ok(Attached { model, tuner, optim, progress })
        }
        None => {
            let loss_scale = LossScale::of(model.model.embed_tokens.weight.base().dtype());
            let progress = Progress { steps: 0, skipped_steps: 0, loss_scale };
            let (tuner, model) = Tuner::attach(method, tuner_config, model)?;
            Ok(Attached { model, tuner, optim, progress })
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

/// The log as it was at `progress`, what it knows of validations on the samples with that hash, and its
/// first damaged line, before which it ends. Later checkpoints go before their lines: a resume from one
/// of them would miss these.
fn resume_log(
    output_dir: &Path,
    progress: Progress,
    valid_sha256: &str,
) -> Result<(MetricsLog, Evaluations, Option<Error>), Error> {
    checkpoint::prune(output_dir, progress.steps, None, None)?;
    let resumed = MetricsLog::resume(output_dir, progress.windows() as u64)?;
    let evaluations = Evaluations::logged(&resumed.evaluations, valid_sha256);
    Ok((resumed.log, evaluations, resumed.damaged))
}
