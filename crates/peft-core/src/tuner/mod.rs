//! The one step function of every training run.

mod attach;
mod record;

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::dense::{self, DenseParam, Masters, SavedModules};
use crate::error::check;
use crate::gradients::{clip, global_norm};
use crate::method::{Event, Method};
use crate::schedule::DenseSchedule;
use crate::{Catalogue, Error, Params, Record};
pub use attach::ParamCounts;
use attach::{Attacher, adapted_paths, dense_params};
pub(crate) use attach::{attachments, counts};

/// What a run does beside its method.
#[derive(Debug, Clone, Default)]
pub struct TunerConfig {
    /// Clips the global norm of everything that trains, at a positive number. `None`: no clipping.
    pub max_grad_norm: Option<f64>,
    /// Modules or parameters trained densely beside the method's own, and without its adapters: see
    /// [`modules_to_save`](crate::target::modules_to_save).
    pub modules_to_save: Vec<String>,
    /// Their learning rate; `None`: [`Method::learning_rate`].
    pub dense_learning_rate: Option<(f64, DenseSchedule)>,
}

impl TunerConfig {
    fn validate(&self) -> Result<(), Error> {
        let norm = self.max_grad_norm.unwrap_or(1.0);
        let valid = norm.is_finite() && norm > 0.0;
        check(valid, "max_grad_norm", norm, "a positive number, or none")?;
        let rate = self.dense_learning_rate.map_or(0.0, |(peak, _)| peak);
        let valid = rate.is_finite() && rate >= 0.0;
        check(valid, "dense_learning_rate", rate, "a finite rate, 0 or more")
    }
}

/// A method attached to a model, and the count of steps taken.
///
/// The training loop computes gradients; [`step`](Tuner::step) does all the rest. Trainers,
/// conformance runs and benches call the same function.
#[derive(Debug)]
pub struct Tuner<T = Box<dyn Method>> {
    method: T,
    config: TunerConfig,
    steps: usize,
    counts: ParamCounts,
    adapted: Vec<String>,
    dense: Vec<DenseParam>,
    saved: SavedModules,
    masters: Masters,
}

/// What a step did.
#[derive(Debug)]
pub struct StepReport {
    /// Number of the step, from 0.
    pub step: usize,
    /// Learning rate at the step: [`Method::learning_rate`].
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping, `[1]`, on the device.
    pub grad_norm: Option<Tensor<1>>,
    /// The method's penalty term, whose gradient was added to that of the loss, `[1]`, on the
    /// device.
    pub penalty: Option<Tensor<1>>,
    /// What the method has to report.
    pub events: Vec<Event>,
    /// What the method took to look at the gradients: importance, and its penalty. A device may still
    /// compute then.
    pub observing: Duration,
}

impl<T: Method> Tuner<T> {
    /// Attaches `method` to `model`: freezes every parameter, attaches adapters, and makes what
    /// trains require gradients. The model must be on an autodiff device.
    ///
    /// # Errors
    /// What [`Catalogue::of`], [`modules_to_save`](crate::target::modules_to_save) and the method's
    /// own checks refuse; [`Error::Setting`] if a norm or a rate is out of its range, or
    /// `modules_to_save` takes a weight that gets an adapter all the same (LoSiA's output head, one
    /// that a file adapts, one that only ends like a name), or a parameter beside an adapter (such as
    /// a bias) that is written as PEFT's.
    pub fn attach<M: Module>(method: T, config: TunerConfig, model: M) -> Result<(Self, M), Error> {
        let (mut tuner, model) = Self::attach_blank(method, config, model)?;
        let plan = tuner.method.initialize(&Params::of(&model))?;
        Ok((tuner, plan.apply(model)?.0))
    }

    /// Goes on from a record: attaches `method` to `model`, which has the original weights, and
    /// restores the record instead of starting anew. What the method once computed from the weights
    /// (PiSSA's decomposition) is the record's.
    ///
    /// # Errors
    /// Those of [`attach`](Self::attach) and [`restore`](Self::restore).
    pub fn resume<M: Module>(
        method: T,
        config: TunerConfig,
        model: M,
        record: &Record,
    ) -> Result<(Self, M), Error> {
        let (mut tuner, model) = Self::attach_blank(method, config, model)?;
        let model = tuner.restore(model, record)?;
        Ok((tuner, model))
    }

    /// Attaches adapters that have yet to be initialised.
    fn attach_blank<M: Module>(
        mut method: T,
        config: TunerConfig,
        model: M,
    ) -> Result<(Self, M), Error> {
        config.validate()?;
        let catalogue = Catalogue::of(&model)?;
        let attachments = attachments(&mut method, &config, &catalogue)?;
        let dense = dense_params(&attachments, &catalogue);
        let saved = SavedModules::of(&dense, &catalogue);
        let counts = counts(&attachments, &catalogue);
        let adapted = adapted_paths(&attachments, &catalogue);
        let model = model.apply_reparameterization(Attacher::new(attachments));
        let masters = Masters::default();
        Ok((Self { method, config, steps: 0, counts, adapted, dense, saved, masters }, model))
    }

    /// One optimizer step. `grads` are raw gradients of the mean loss over target tokens, of all batches
    /// of the step: [`gradients::scale`](crate::gradients::scale) makes a sum a mean. Parameters trained
    /// densely are stepped by `optim`; of those in half precision, it steps f32 values that the tuner
    /// keeps.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one, [`Error::NotFinite`] if a block
    /// that is not finite is to be settled. The step is then not counted, and training can only go
    /// on from a [`record`](Self::record).
    pub fn step<M: Module>(
        &mut self,
        model: M,
        optim: &mut ModuleOptimizer,
        mut grads: GradientsParams,
    ) -> Result<(M, StepReport), Error> {
        let step = self.steps;
        let params = Params::of(&model);
        let start = Instant::now();
        let penalty = self.method.observe(step, &params, &mut grads)?;
        let observing = start.elapsed();
        let grad_norm = global_norm(&model, &grads);
        if let Some((norm, max_norm)) = grad_norm.clone().zip(self.config.max_grad_norm) {
            clip(&model, &mut grads, norm, max_norm);
        }
        let plan = self.method.update(step, &params, &mut grads)?;
        drop(params); // a second handle would keep the optimizer from working in place
        let (model, events) = plan.apply(model)?;
        let model = match grads.is_empty() {
            true => model,
            false => {
                let rate = self.dense_learning_rate(step);
                self.masters.step(model, grads, |model, grads| optim.step(rate, model, grads))
            }
        };
        self.steps += 1;
        let learning_rate = self.method.learning_rate(step);
        Ok((model, StepReport { step, learning_rate, grad_norm, penalty, events, observing }))
    }

    /// Folds all adapters into the base and removes them. The base stays frozen. Training can go
    /// on with a clone of the model that was given: clones share memory.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one, or merged already;
    /// [`Error::NotFinite`] if training diverged; [`Error::NotAllocated`] and
    /// [`Error::UndecidedRanks`] before AdaLoRA's last cut.
    pub fn merge<M: Module>(&self, model: M) -> Result<M, Error> {
        dense::check_finite(&model, &self.dense, self.steps.saturating_sub(1))?;
        let plan = self.method.settle(self.steps, &Params::of(&model))?;
        Ok(plan.apply(model)?.0.materialize())
    }

    /// The model as it was before training, bit for bit, without adapters.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one; [`Error::Irreversible`] where
    /// the original bits are gone: for densely trained parameters, PiSSA, and LoSiA without a
    /// journal.
    pub fn detach<M: Module>(&self, model: M) -> Result<M, Error> {
        if let Some(DenseParam { path, .. }) = self.dense.first() {
            let reason = "it was trained densely";
            return Err(Error::Irreversible { path: path.clone(), reason });
        }
        let plan = self.method.detach(&Params::of(&model))?;
        Ok(plan.apply(model)?.0.materialize())
    }

    /// The method.
    pub fn method(&self) -> &T {
        &self.method
    }

    /// Steps taken.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Sizes of the attached model.
    pub fn counts(&self) -> ParamCounts {
        self.counts
    }

    /// Paths of the adapted weights, in the order of the model.
    pub fn adapted(&self) -> &[String] {
        &self.adapted
    }

    /// Learning rate of the step to come: [`Method::learning_rate`].
    pub fn learning_rate(&self) -> f64 {
        self.method.learning_rate(self.steps)
    }

    /// Learning rate of densely trained parameters at `step`.
    pub fn dense_learning_rate(&self, step: usize) -> f64 {
        match &self.config.dense_learning_rate {
            Some((peak, schedule)) => peak * schedule.multiplier(step),
            None => self.method.learning_rate(step),
        }
    }
}
