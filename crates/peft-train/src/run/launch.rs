//! Starting and finishing a run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Device;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{ExecutionStrategy, Interrupter, Learner, SupervisedTraining};
use peft_core::{Method, ParamCounts, Tuner, TunerConfig};
use peft_llama::CausalLm;
use serde_json::Value;

use super::checkpoint::{self, CheckpointManifest};
use super::config::TrainConfig;
use super::finish::{Finished, PROBE_TOKENS, finish};
use super::model::FineTune;
use super::session::{MethodRate, Session, State, Window};
use crate::Error;
use crate::data::{BatchLoader, Sample};
use crate::report::MetricsLog;

/// What a run is made of, beside the model.
pub struct RunPlan<'a> {
    /// The method.
    pub method: Box<dyn Method>,
    /// Its configuration, by which a resume recognises the run.
    pub method_config: Value,
    /// What the step does beside the method. Its clipping is that of `config`.
    pub tuner_config: TunerConfig,
    /// Batches, epochs, logs and checkpoints.
    pub config: TrainConfig,
    /// Samples to train on; shuffled by the configuration's seed.
    pub train_samples: Vec<Sample>,
    /// Samples for a validation loss at the end of each epoch, in their own order.
    pub valid_samples: Vec<Sample>,
    /// Folder for logs and checkpoints; created if need be.
    pub output_dir: &'a Path,
    /// Folder of the checkpoint to go on from, if any.
    pub resume_from: Option<&'a Path>,
}

/// A model with a method attached, ready to be trained.
pub struct Run {
    model: CausalLm,
    session: Session,
    optim: ModuleOptimizer,
    train: BatchLoader,
    valid: BatchLoader,
    device: Device,
    counts: ParamCounts,
    epochs_done: u64,
}

impl Run {
    /// Attaches the plan's method to `model`, which holds the original weights even where the run
    /// goes on from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Method`] for what the method refuses, [`Error::Checkpoint`] for a checkpoint that
    /// is damaged or belongs to another run, [`Error::Io`].
    pub fn new(model: CausalLm, plan: RunPlan<'_>) -> Result<Self, Error> {
        let RunPlan { method, method_config, config, train_samples, .. } = plan;
        let (output_dir, resume_from) = (plan.output_dir, plan.resume_from);
        let tuner_config = TunerConfig { max_grad_norm: config.max_grad_norm, ..plan.tuner_config };
        let samples = train_samples.len();
        let steps = config.total_steps(samples);
        if let Some(planned) = method.total_steps().filter(|planned| *planned != steps) {
            return Err(Error::TotalSteps { method: planned, run: steps });
        }
        std::fs::create_dir_all(output_dir).map_err(Error::write(output_dir))?;
        let weight = model.model.embed_tokens.weight.base();
        let (device, dtype) = (weight.device().autodiff(), format!("{:?}", weight.dtype()));
        let settings = serde_json::json!({
            "method": method_config, "run": config, "modules_to_save": tuner_config.modules_to_save,
        });
        let name = method.name().to_string();
        let manifest = CheckpointManifest { method: name, config: settings, samples, dtype };

        let (mut tuner, mut model) = Tuner::attach(method, tuner_config, model.train())?;
        let mut optim =
            AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(config.weight_decay).init();
        if let Some(dir) = resume_from {
            let (record, loaded) = checkpoint::read(dir, &manifest, optim)?;
            optim = loaded;
            model = tuner.restore(model, &record)?;
        }
        let probe = train_samples.first().map(|s| s.input_ids.iter().take(PROBE_TOKENS).copied());
        let probe = probe.map(Iterator::collect).unwrap_or_default();
        let (steps, counts) = (tuner.steps(), tuner.counts());
        let (epoch, batches) = config.position(steps, samples);
        let loader = |samples| BatchLoader::new(samples, config.micro_batch_size, device.clone());
        let train = loader(train_samples)
            .shuffled(config.seed)
            .grouped_by_length(config.group_by_length)
            .resume_at(epoch, batches);
        let valid = loader(plan.valid_samples);
        let log = match resume_from {
            Some(_) => MetricsLog::resume(output_dir, steps as u64)?,
            None => MetricsLog::create(output_dir)?,
        };
        let session = Session::new(State {
            tuner,
            total_steps: config.total_steps(samples),
            config,
            log,
            output_dir: output_dir.into(),
            manifest,
            interrupter: Interrupter::new(),
            tokens: 0,
            window: Window::default(),
            probe,
            since_log: Instant::now(),
            error: None,
        });
        Ok(Self { model, session, optim, train, valid, device, counts, epochs_done: epoch })
    }

    /// Sizes of the model.
    pub fn counts(&self) -> ParamCounts {
        self.counts
    }

    /// Paths of the adapted weights, in the order of the model.
    pub fn adapted(&self) -> Vec<String> {
        self.session.lock().tuner.adapted().to_vec()
    }

    /// A handle that stops the run after the present step.
    pub fn interrupter(&self) -> Interrupter {
        self.session.lock().interrupter.clone()
    }

    /// Trains to the end. Progress goes to `renderer`; `None` is burn-train's own choice: its
    /// terminal dashboard where standard output is a terminal.
    ///
    /// # Errors
    /// The first error of a step, a log or a checkpoint; [`Error::Training`] for the Learner's.
    pub fn launch(self, renderer: Option<Box<dyn MetricsRenderer>>) -> Result<Finished, Error> {
        let start = Instant::now();
        let session = self.session.clone();
        let (config, output_dir, interrupter, done) = {
            let state = session.lock();
            let done = state.tuner.steps() >= state.total_steps;
            (state.config.clone(), state.output_dir.clone(), state.interrupter.clone(), done)
        };
        if done {
            return finish(self.model.valid(), &session, start);
        }
        let learner = Learner::new(
            FineTune::new(self.model, session.clone()),
            self.optim,
            MethodRate(session.clone()),
        );
        let strategy = ExecutionStrategy::SingleDevice(self.device);
        let mut training = SupervisedTraining::new(
            learner_dir(&output_dir),
            std::sync::Arc::new(self.train),
            std::sync::Arc::new(self.valid),
        )
        .with_training_strategy(strategy.into())
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
        .metric_train_numeric(LearningRateMetric::new())
        .grads_accumulation(config.gradient_accumulation_steps.get())
        .num_epochs(config.num_epochs.get());
        if self.epochs_done > 0 {
            training = training.checkpoint(self.epochs_done as usize);
        }
        if let Some(renderer) = renderer {
            training = training.renderer(renderer);
        }
        let result = training.launch(learner);
        if let Some(error) = result.error {
            return Err(Error::Training { reason: error.to_string() });
        }
        finish(result.model.model, &session, start)
    }
}

/// Where burn-train keeps its own metric logs.
fn learner_dir(output_dir: &Path) -> PathBuf {
    output_dir.join("learner")
}
