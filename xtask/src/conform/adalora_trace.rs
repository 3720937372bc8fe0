//! Kind `adalora_trace`: a recorded AdaLoRA run, reproduced step by step.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig, Allocation};
use peft_core::store::{AdaLoraFields, AdapterConfig, AdapterFiles, ModuleTensors, PeftType};
use peft_core::{Event, Optimizer, TargetModules, Tuner, TunerConfig};
use peft_llama::{CausalLm, cross_entropy_sum};
use serde::Deserialize;

use super::peft_names::{TensorName, oriented};
use super::tensors::Tensors;
use super::{Case, CaseError, Comparison, model, weights};

#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the recorded keys are PEFT's")]
struct Config {
    init_r: usize,
    target_r: usize,
    tinit: usize,
    tfinal: usize,
    deltaT: usize,
    beta1: f64,
    beta2: f64,
    orth_reg_weight: f64,
    total_step: usize,
    lora_alpha: f64,
    optimizer: String,
    lr: f64,
    #[serde(default = "betas")]
    betas: (f64, f64),
    #[serde(default = "eps")]
    eps: f64,
    #[serde(default)]
    weight_decay: f64,
    modules: Vec<String>,
    batches: usize,
}

fn betas() -> (f64, f64) {
    (0.9, 0.999)
}

fn eps() -> f64 {
    1e-8
}

#[derive(Deserialize)]
struct Trace {
    steps: Vec<Step>,
    rank_pattern: BTreeMap<String, Vec<bool>>,
}

#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the recorded keys are PEFT's")]
struct Step {
    step: usize,
    loss_total: f64,
    budget: usize,
    mask_due: bool,
    #[serde(default)]
    threshold: Option<f64>,
    #[serde(default)]
    gap: Option<f64>,
    #[serde(default)]
    ranks: Option<BTreeMap<String, usize>>,
    #[serde(default)]
    E_nonzero: Option<usize>,
}

pub fn run(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    Replay::new(case, device)?.run(&mut comparison)?;
    Ok(comparison)
}

struct Replay<'a> {
    case: &'a Case,
    config: Config,
    trace: Trace,
    data: Tensors,
    snapshots: Tensors,
    device: Device,
    tuner: Tuner<AdaLora>,
    optim: ModuleOptimizer,
    model: Option<CausalLm>,
}

impl<'a> Replay<'a> {
    fn new(case: &'a Case, device: &Device) -> Result<Self, CaseError> {
        let (config, trace): (Config, Trace) = (case.settings()?, case.json("trace")?);
        let data = case.tensors("init")?;
        let adalora = AdaLora::from_adapter(&config.adapter(&data)?, config.adalora()?)?;
        let base = model::load(&case.base()?, device)?;
        let (tuner, model) = Tuner::attach(adalora, TunerConfig::default(), base)?;
        Ok(Self {
            case,
            trace,
            data,
            snapshots: case.tensors("snapshots")?,
            device: device.clone().autodiff(),
            tuner,
            optim: AdamConfig::new().init(),
            model: Some(model),
            config,
        })
    }

    fn run(&mut self, comparison: &mut Comparison) -> Result<(), CaseError> {
        for index in 0..self.trace.steps.len() {
            self.gradients(index, comparison)?;
            let (loss, allocation) = self.step(index)?;
            let step = &self.trace.steps[index];
            let what = format!("step {}", step.step);
            comparison.error(self.case, "loss", &what, (loss - step.loss_total).abs())?;
            let schedule = self.tuner.method().budget();
            comparison.equal(&what, schedule.budget(step.step), step.budget);
            comparison.equal(&what, schedule.mask_due(step.step), step.mask_due);
            if !self.ranks(step, allocation, comparison)? {
                comparison.note(format!("a choice within min_gap differs at {what}"));
                return Ok(());
            }
            self.snapshot(index, comparison)?;
        }
        let pattern = self.tuner.method().rank_pattern();
        let got: BTreeMap<_, _> = pattern.map(|(p, kept)| (module(p), kept.to_vec())).collect();
        comparison.equal("rank_pattern", got, self.trace.rank_pattern.clone());
        Ok(())
    }

    fn loss(&self, model: &CausalLm, index: usize) -> Result<Tensor<1>, CaseError> {
        let batch = index % self.config.batches;
        let ids = self.data.ids(&format!("data.{batch}.input_ids"), &self.device)?;
        let labels = self.data.ids(&format!("data.{batch}.labels"), &self.device)?;
        let (sum, count) = cross_entropy_sum(model.forward(ids, None), labels);
        Ok(sum / count.float())
    }

    /// Compares autodiff's gradients of the whole loss, regulariser included, where some are
    /// recorded.
    fn gradients(&self, index: usize, comparison: &mut Comparison) -> Result<(), CaseError> {
        let prefix = format!("grad{index}.");
        if self.snapshots.with_prefix(&prefix).next().is_none() {
            return Ok(());
        }
        let model = self.model.as_ref().ok_or("the model is gone")?;
        let total = self.loss(model, index)? + orthogonality(model) * self.config.orth_reg_weight;
        let grads = weights::gradients(model, &total.backward());
        for (name, want) in self.snapshots.with_prefix(&prefix) {
            let got = TensorName::parse(name)?.find(&grads);
            let got = oriented(got.ok_or_else(|| format!("no gradient of `{name}`"))?, want);
            comparison.tensor(self.case, "grads", name, &got, want)?;
        }
        Ok(())
    }

    /// The whole loss before the step, and the distribution of ranks at its end, if there was one.
    fn step(&mut self, index: usize) -> Result<(f64, Option<Allocation>), CaseError> {
        let model = self.model.take().ok_or("the model is gone")?;
        let loss = self.loss(&model, index)?;
        let task = f64::from(loss.clone().into_scalar::<f32>());
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (model, report) = self.tuner.step(model, &mut self.optim, grads, 1.0)?;
        self.model = Some(model);
        let penalty = report.penalty.map_or(0.0, |value| f64::from(value.into_scalar::<f32>()));
        let allocation = report.events.into_iter().find_map(Event::into_allocation);
        Ok((task + penalty, allocation))
    }

    /// Whether the ranks are the recorded ones.
    fn ranks(
        &self,
        step: &Step,
        allocation: Option<Allocation>,
        comparison: &mut Comparison,
    ) -> Result<bool, CaseError> {
        let what = format!("step {}", step.step);
        let threshold = allocation.and_then(|allocation| allocation.threshold);
        if let (Some(got), Some(want)) = (threshold, step.threshold) {
            let error = (f64::from(got) - want).abs() / want.abs().max(f64::MIN_POSITIVE);
            comparison.error(self.case, "threshold_rel", &what, error)?;
        }
        let Some(want) = &step.ranks else { return Ok(true) };
        let rank = |kept: &[bool]| kept.iter().filter(|kept| **kept).count();
        let pattern = self.tuner.method().rank_pattern();
        let got: BTreeMap<_, _> = pattern.map(|(path, kept)| (module(path), rank(kept))).collect();
        if got == *want {
            return Ok(true);
        }
        let close =
            step.gap.is_some_and(|gap| gap <= self.case.tolerance("min_gap").unwrap_or(0.0));
        if !close {
            comparison.equal(&format!("{what}: ranks"), &got, want);
        }
        Ok(!close)
    }

    fn snapshot(&self, index: usize, comparison: &mut Comparison) -> Result<(), CaseError> {
        let model = self.model.as_ref().ok_or("the model is gone")?;
        let record = self.tuner.record(model)?;
        let step = &self.trace.steps[index];
        if let Some(want) = step.E_nonzero {
            let e = record.tensors.iter().filter(|(name, _)| name.ends_with(".lora_e"));
            let got = e.flat_map(|(_, data)| data.iter::<f32>()).filter(|e| *e != 0.0).count();
            comparison.equal(&format!("step {}: singular values", step.step), got, want);
        }
        for (prefix, quantity, end) in [
            (format!("after{index}."), "weights", ""),
            (format!("ipt{index}.I."), "importance_rel", ".importance"),
            (format!("ipt{index}.U."), "importance_rel", ".uncertainty"),
        ] {
            for (name, want) in self.snapshots.with_prefix(&prefix) {
                let key = format!("{}{end}", TensorName::parse(name)?.record_key());
                let got = record.tensors.get(&key).ok_or_else(|| format!("no entry `{key}`"))?;
                comparison.tensor(self.case, quantity, name, &oriented(got, want), want)?;
            }
        }
        Ok(())
    }
}

impl Config {
    fn adalora(&self) -> Result<AdaLoraConfig, CaseError> {
        let optimizer = match self.optimizer.as_str() {
            "adamw" => Optimizer::AdamW {
                beta1: self.betas.0,
                beta2: self.betas.1,
                eps: self.eps,
                weight_decay: self.weight_decay,
            },
            "sgd" => Optimizer::Sgd,
            other => return Err(format!("optimizer `{other}`").into()),
        };
        Ok(AdaLoraConfig::new(self.total_step)
            .with_tinit(self.tinit)
            .with_tfinal(self.tfinal)
            .with_delta_t(self.deltaT)
            .with_compact(false)
            .with_learning_rate(self.lr)
            .with_warmup_ratio(0.0)
            .with_min_lr_ratio(1.0)
            .with_optimizer(optimizer))
    }

    /// The recorded starting point as an adapter.
    fn adapter(&self, init: &Tensors) -> Result<AdapterFiles, CaseError> {
        let fields = AdaLoraFields {
            init_r: self.init_r,
            target_r: self.target_r,
            tinit: self.tinit,
            tfinal: self.tfinal,
            delta_t: self.deltaT,
            beta1: self.beta1,
            beta2: self.beta2,
            orth_reg_weight: self.orth_reg_weight,
            total_step: self.total_step,
            rank_pattern: None,
        };
        let modules = self.modules.iter().map(|module| {
            let tensor =
                |end: &str| init.get(&format!("init.base_model.model.{module}.{end}")).cloned();
            let [a, b, e] = [tensor("lora_A")?, tensor("lora_B")?, tensor("lora_E")?];
            Ok((module.clone(), ModuleTensors::AdaLora { a, b, e }))
        });
        let names = TargetModules::Names(self.modules.clone());
        Ok(AdapterFiles {
            config: AdapterConfig::new(PeftType::AdaLora(fields), self.lora_alpha, names),
            modules: modules.collect::<Result<_, CaseError>>()?,
            other: BTreeMap::new(),
        })
    }
}

fn module(path: &str) -> String {
    path.trim_end_matches(".weight").to_string()
}

/// The regulariser as PEFT's code computes it, for autodiff: the mean Frobenius norm of
/// `M·Mᵀ − I` over all A and B.
fn orthogonality(model: &CausalLm) -> Tensor<1> {
    struct Norms(Vec<String>, Vec<Tensor<1>>);
    impl ModuleVisitor for Norms {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let rows = match self.0.last().map(String::as_str) {
                Some("lora_a") => param.val().swap_dims(0, 1),
                Some("lora_b") => param.val(),
                _ => return,
            };
            let gram = rows.clone().matmul(rows.swap_dims(0, 1)); // [r, r]
            let eye = Tensor::<2>::eye(gram.dims()[0], &gram.device()).reshape(gram.shape());
            self.1.push((gram - eye).powi_scalar(2).sum().sqrt());
        }
    }
    let mut norms = Norms(vec![], vec![]);
    model.visit(&mut norms);
    Tensor::cat(norms.1, 0).mean()
}
