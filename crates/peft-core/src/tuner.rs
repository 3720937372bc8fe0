//! The one step function of every training run.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, Param, ParamId, Reparameterizer};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::dense::{self, DenseParam};
use crate::error::check;
use crate::gradients::{clip, global_norm, scale};
use crate::method::{Attachments, Event, Method};
use crate::schedule::DenseSchedule;
use crate::store::AdapterFile;
use crate::target::modules_to_save;
use crate::{Catalogue, Error, ParamInfo, Params, Record};

/// What a run does beside its method.
#[derive(Debug, Clone, Default)]
pub struct TunerConfig {
    /// Clips the global norm of everything that trains. `None`: no clipping.
    pub max_grad_norm: Option<f64>,
    /// Modules or parameters trained densely beside the method's own.
    pub modules_to_save: Vec<String>,
    /// Their learning rate; `None`: the method's.
    pub dense_learning_rate: Option<(f64, DenseSchedule)>,
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
}

/// Parameters of an attached model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamCounts {
    /// Elements that training changes at any one time.
    pub trainable: usize,
    /// Elements of the model without adapters.
    pub total: usize,
}

/// What a step did.
#[derive(Debug)]
pub struct StepReport {
    /// Number of the step, from 0.
    pub step: usize,
    /// Learning rate of the method's parameters, the highest of them.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping, `[1]`, on the device.
    pub grad_norm: Option<Tensor<1>>,
    /// The method's penalty term, whose gradient was added to that of the loss, `[1]`, on the
    /// device.
    pub penalty: Option<Tensor<1>>,
    /// What the method has to report.
    pub events: Vec<Event>,
}

impl<T: Method> Tuner<T> {
    /// Attaches `method` to `model`: freezes every parameter, attaches adapters, and makes what
    /// trains require gradients. The model must be on an autodiff device.
    ///
    /// # Errors
    /// What [`Catalogue::of`], [`modules_to_save`] and the method's own checks refuse;
    /// [`Error::Setting`] if `modules_to_save` names an adapted weight.
    pub fn attach<M: Module>(
        mut method: T,
        config: TunerConfig,
        model: M,
    ) -> Result<(Self, M), Error> {
        let catalogue = Catalogue::of(&model)?;
        let mut attachments = method.attach(&catalogue)?;
        for param in modules_to_save(&config.modules_to_save, &catalogue)? {
            refuse_adapted(param, &attachments)?;
            attachments.dense.push(param.id);
        }
        let dense = dense_params(&attachments, &catalogue);
        let counts = ParamCounts {
            trainable: trainable(&attachments, &catalogue),
            total: catalogue.num_elements(),
        };
        let adapted = adapted_paths(&attachments, &catalogue);
        let model = model.apply_reparameterization(Attacher::new(attachments));
        let plan = method.initialize(&Params::of(&model))?;
        let (model, _) = plan.apply(model)?;
        Ok((Self { method, config, steps: 0, counts, adapted, dense }, model))
    }

    /// One optimizer step. `grads` are raw gradients of the mean loss over target tokens times
    /// `1 / grad_scale`: gradients accumulated over several batches are made a mean here, before
    /// importance, clipping and Adam see them. Parameters trained densely are stepped by `optim`.
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
        grad_scale: f64,
    ) -> Result<(M, StepReport), Error> {
        let step = self.steps;
        if grad_scale != 1.0 {
            scale(&model, &mut grads, grad_scale);
        }
        let params = Params::of(&model);
        let penalty = self.method.observe(step, &params, &mut grads)?;
        let grad_norm = global_norm(&model, &grads);
        if let Some((norm, max_norm)) = grad_norm.clone().zip(self.config.max_grad_norm) {
            clip(&model, &mut grads, norm, max_norm);
        }
        let plan = self.method.update(step, &params, &mut grads)?;
        drop(params); // a second handle would keep the optimizer from working in place
        let (model, events) = plan.apply(model)?;
        let model = match grads.is_empty() {
            true => model,
            false => optim.step(self.dense_learning_rate(step), model, grads),
        };
        self.steps += 1;
        let learning_rate = self.method.learning_rate(step);
        Ok((model, StepReport { step, learning_rate, grad_norm, penalty, events }))
    }

    /// Folds all adapters into the base and removes them. The base stays frozen. Training can go
    /// on with a clone of the model that was given: clones share memory.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one, or merged already;
    /// [`Error::NotFinite`] if training diverged.
    pub fn merge<M: Module>(&self, model: M) -> Result<M, Error> {
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

    /// What training changed so far, as a file others read. `None` where that is whole weights: in
    /// full fine-tuning, and for LoSiA with `modules_to_save`, which its file has no place for.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one.
    pub fn export<M: Module>(&self, model: &M) -> Result<Option<AdapterFile>, Error> {
        let saved = &self.config.modules_to_save;
        Ok(match self.method.export(self.steps, &Params::of(model))? {
            Some(AdapterFile::Peft(mut adapter)) if !saved.is_empty() => {
                // What came with a file and was not trained is still part of the adapter.
                let names = adapter.config.modules_to_save.get_or_insert_default();
                names.extend(dense::modules(&self.dense));
                names.sort();
                names.dedup();
                adapter.other.extend(dense::export(model, &self.dense)?);
                Some(AdapterFile::Peft(adapter))
            }
            Some(AdapterFile::Losia(_)) if !saved.is_empty() => None,
            file => file,
        })
    }

    /// Everything that must survive a restart: the method's state, its adapters, and the densely
    /// trained parameters. The state of their optimizer is not part of it.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one.
    pub fn record<M: Module>(&self, model: &M) -> Result<Record, Error> {
        let mut record = self.method.record(&Params::of(model))?;
        let dense = dense::record(model, &self.dense, &mut record)?;
        record.describe(&Meta { dense, steps: self.steps })?;
        Ok(record)
    }

    /// Restores a record on a freshly attached model. Densely trained parameters get the
    /// identities they had, so that the record of their optimizer fits.
    ///
    /// # Errors
    /// [`Error::Record`] if the record does not fit the configuration or the model.
    pub fn restore<M: Module>(&mut self, model: M, record: &Record) -> Result<M, Error> {
        let meta: Meta = record.description()?;
        let plan = self.method.restore(meta.steps, record, &Params::of(&model))?;
        let (model, _) = plan.apply(model)?;
        self.steps = meta.steps;
        dense::restore(model, &mut self.dense, record, &meta.dense)
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

    /// Learning rate of the step to come: the highest of any of the method's parameters.
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

#[derive(Serialize, Deserialize)]
struct Meta {
    dense: Vec<(String, u64)>,
    steps: usize,
}

/// The gradient of an adapted weight belongs to its adapter.
fn refuse_adapted(param: &ParamInfo, attachments: &Attachments) -> Result<(), Error> {
    let adapted = attachments.adapters.iter().any(|(id, _)| *id == param.id);
    check(!adapted, "modules_to_save", &param.path, "modules without an adapter")
}

fn adapted_paths(attachments: &Attachments, catalogue: &Catalogue) -> Vec<String> {
    let ids: HashSet<_> = attachments.adapters.iter().map(|(id, _)| id).collect();
    let adapted = catalogue.params().iter().filter(|param| ids.contains(&param.id));
    adapted.map(|param| param.path.clone()).collect()
}

fn dense_params(attachments: &Attachments, catalogue: &Catalogue) -> Vec<DenseParam> {
    let ids: HashSet<_> = attachments.dense.iter().collect();
    let dense = catalogue.params().iter().filter(|param| ids.contains(&param.id));
    let dense_param = |param: &ParamInfo| DenseParam {
        id: param.id,
        path: param.path.clone(),
        is_linear_weight: param.is_linear_weight(),
    };
    dense.map(dense_param).collect()
}

fn trainable(attachments: &Attachments, catalogue: &Catalogue) -> usize {
    let adapters: usize = attachments.adapters.iter().map(|(_, a)| a.num_params()).sum();
    let dense: HashSet<_> = attachments.dense.iter().collect();
    let dense = catalogue.params().iter().filter(|param| dense.contains(&param.id));
    adapters + dense.map(|param| param.num_elements()).sum::<usize>()
}

struct Attacher {
    adapters: HashMap<ParamId, Adapter>,
    tracked: HashSet<ParamId>,
}

impl Attacher {
    fn new(attachments: Attachments) -> Self {
        Self {
            adapters: attachments.adapters.into_iter().collect(),
            tracked: attachments.tracked.into_iter().chain(attachments.dense).collect(),
        }
    }
}

impl Reparameterizer for Attacher {
    type Reparam = Adapter;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Adapter>) {
        let adapter = self.adapters.remove(&param.id);
        let tracked = self.tracked.contains(&param.id);
        // What tensor operations computed, such as a cast, is no leaf: detached, it becomes one.
        (param.map(Tensor::detach).set_require_grad(tracked), adapter)
    }
}
