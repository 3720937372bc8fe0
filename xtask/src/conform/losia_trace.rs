//! Kind `losia_trace`: a recorded LoSiA run, reproduced step by step on both forward paths.

use std::collections::{BTreeMap, BTreeSet};

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, TensorData};
use peft_core::adapter::losia::{Losia, LosiaConfig, Relocalization};
use peft_core::schedule::{DenseSchedule, LrScheduler, UpdateType};
use peft_core::subnet::Subnet;
use peft_core::{Event, Sensitivity, TargetModules, Tuner, TunerConfig};
use peft_llama::{CausalLm, cross_entropy_sum};
use serde::Deserialize;

use super::tensors::Tensors;
use super::{Case, CaseError, Comparison, model, weights};

#[derive(Deserialize)]
struct Config {
    scheduler: LrScheduler,
    num_training_steps: usize,
    lr: f64,
    rank_factor: f64,
    period: usize,
    min_lr_ratio: f64,
    warmup_ratio: f64,
    weight_decay: f64,
    output_dim_factor: f64,
    taylor_type: Sensitivity,
    update_type: String,
    imp_beta1: f64,
    imp_beta2: f64,
    scale: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    dense_eps: f32,
    total_id: usize,
    batches: usize,
}

#[derive(Deserialize)]
struct Trace {
    groups: BTreeMap<String, Vec<String>>,
    steps: Vec<Step>,
    #[serde(default)]
    final_checksums: BTreeMap<String, Checksum>,
}

#[derive(Deserialize)]
struct Step {
    step: usize,
    loss: f64,
    lr: BTreeMap<String, f64>,
    #[serde(default)]
    reselect: BTreeMap<String, Reselect>,
}

#[derive(Deserialize)]
struct Reselect {
    rows: Vec<usize>,
    cols: Vec<usize>,
    gap: f64,
}

#[derive(Deserialize)]
struct Checksum {
    l2_change: f64,
}

pub fn run(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    for pro in [true, false] {
        let mut replay = Replay::new(case, device, pro)?;
        replay.run(&mut comparison)?;
    }
    Ok(comparison)
}

struct Replay<'a> {
    case: &'a Case,
    config: Config,
    trace: Trace,
    data: Tensors,
    snapshots: Tensors,
    device: Device,
    base: BTreeMap<String, TensorData>,
    tuner: Tuner<Losia>,
    optim: ModuleOptimizer,
    model: Option<CausalLm>,
}

impl<'a> Replay<'a> {
    fn new(case: &'a Case, device: &Device, pro: bool) -> Result<Self, CaseError> {
        let (config, trace): (Config, Trace) = (case.settings()?, case.json("trace")?);
        let data = case.tensors("init")?;
        let base_model = model::load(&case.base()?, device)?;
        let base = weights::effective(&base_model);
        let dense = trace.groups.get("dense").cloned().unwrap_or_default();
        let first = first_subnets(&trace, &data, &base)?;
        let losia = Losia::new(config.losia(pro, &base_model, &trace)?)?.with_first_subnets(first);
        let schedule =
            DenseSchedule::new(config.num_training_steps, config.warmup_ratio, config.min_lr_ratio);
        let tuner_config = TunerConfig {
            modules_to_save: dense,
            dense_learning_rate: Some((config.lr, schedule)),
            max_grad_norm: None,
        };
        let (tuner, model) = Tuner::attach(losia, tuner_config, base_model)?;
        let mut adam = AdamConfig::new().with_epsilon(config.dense_eps);
        if config.weight_decay > 0.0 {
            let decay = WeightDecayConfig::new(config.weight_decay as f32);
            adam = adam.with_weight_decay(Some(decay));
        }
        Ok(Self {
            case,
            trace,
            data,
            snapshots: case.tensors("snapshots")?,
            device: device.clone().autodiff(),
            base,
            tuner,
            optim: adam.init(),
            model: Some(model),
            config,
        })
    }

    fn run(&mut self, comparison: &mut Comparison) -> Result<(), CaseError> {
        comparison.equal("total_id", self.tuner.method().slot_count(), self.config.total_id);
        for index in 0..self.trace.steps.len() {
            self.learning_rates(index, comparison)?;
            let (loss, moved) = self.step(index)?;
            let step = &self.trace.steps[index];
            let what = format!("step {}", step.step);
            comparison.error(self.case, "loss", &what, (loss - step.loss).abs())?;
            if !self.selections(index, &moved, comparison)? {
                comparison.note(format!("a choice within min_gap differs at {what}"));
                return Ok(());
            }
            self.snapshot(index, &moved, comparison)?;
        }
        self.last(comparison)
    }

    fn learning_rates(&self, index: usize, comparison: &mut Comparison) -> Result<(), CaseError> {
        let step = &self.trace.steps[index];
        for (group, want) in &step.lr {
            let got = match group.parse::<usize>() {
                Ok(slot) => self.tuner.method().slot_learning_rate(step.step, slot),
                Err(_) => self.tuner.dense_learning_rate(step.step),
            };
            let what = format!("step {} group {group}", step.step);
            comparison.error(self.case, "lr", &what, (got - want).abs())?;
        }
        Ok(())
    }

    fn step(&mut self, index: usize) -> Result<(f64, Vec<Relocalization>), CaseError> {
        let batch = index % self.config.batches;
        let ids = self.data.ids(&format!("data.{batch}.input_ids"), &self.device)?;
        let labels = self.data.ids(&format!("data.{batch}.labels"), &self.device)?;
        let model = self.model.take().ok_or("the model is gone")?;
        let (sum, count) = cross_entropy_sum(model.forward(ids, None), labels);
        let loss = sum / count.float();
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (model, report) = self.tuner.step(model, &mut self.optim, grads, 1.0)?;
        self.model = Some(model);
        let moved = report.events.into_iter().filter_map(Event::into_relocalization);
        Ok((value, moved.collect()))
    }

    /// Whether every selection is the recorded one.
    fn selections(
        &self,
        index: usize,
        moved: &[Relocalization],
        comparison: &mut Comparison,
    ) -> Result<bool, CaseError> {
        let step = &self.trace.steps[index];
        let names = |names: Vec<&str>| names.into_iter().map(str::to_string).collect();
        let got: BTreeSet<String> = names(moved.iter().map(|m| m.path.as_str()).collect());
        let want: BTreeSet<String> = names(step.reselect.keys().map(String::as_str).collect());
        comparison.equal(&format!("step {}: weights that moved", step.step), got, want);
        let mut comparable = true;
        for moved in moved {
            let Some(want) = step.reselect.get(&moved.path) else { continue };
            let (rows, cols) = oriented(&moved.path, &want.rows, &want.cols);
            let same = moved.subnet.rows() == rows && moved.subnet.cols() == cols;
            if same {
                continue;
            }
            match want.gap > self.case.tolerance("min_gap")? {
                true => comparison.problem(format!("step {}: {}", step.step, moved.path)),
                false => comparable = false,
            }
        }
        Ok(comparable)
    }

    fn snapshot(
        &self,
        index: usize,
        moved: &[Relocalization],
        comparison: &mut Comparison,
    ) -> Result<(), CaseError> {
        for (name, want) in self.snapshots.with_prefix(&format!("score{index}.")) {
            let moved = moved.iter().find(|moved| moved.path == name);
            let score = moved.ok_or_else(|| format!("no score of `{name}`"))?.score.clone();
            let got = match is_embedding(name) {
                true => score.into_data(),
                false => score.transpose().into_data(),
            };
            comparison.tensor(self.case, "score_rel", name, &got, want)?;
        }
        self.weights(self.snapshots.with_prefix(&format!("after{index}.")), comparison)
    }

    fn last(&self, comparison: &mut Comparison) -> Result<(), CaseError> {
        self.weights(self.case.tensors("final")?.with_prefix(""), comparison)?;
        let trained = weights::effective(self.model.as_ref().ok_or("the model is gone")?);
        for (name, want) in &self.trace.final_checksums {
            let [got, base] = [&trained, &self.base].map(|of| of.get(name));
            let (got, base) = got.zip(base).ok_or_else(|| format!("no weight `{name}`"))?;
            let change = got.iter::<f32>().zip(base.iter::<f32>());
            let change = change.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
            let error = (change - want.l2_change).abs() / want.l2_change.max(f64::MIN_POSITIVE);
            comparison.error(self.case, "checksum_rel", name, error)?;
        }
        Ok(())
    }

    fn weights<'t>(
        &self,
        wanted: impl Iterator<Item = (&'t str, &'t TensorData)>,
        comparison: &mut Comparison,
    ) -> Result<(), CaseError> {
        let mut wanted = wanted.peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let trained = weights::effective(self.model.as_ref().ok_or("the model is gone")?);
        for (name, want) in wanted {
            let got = trained.get(name).ok_or_else(|| format!("no weight `{name}`"))?;
            comparison.tensor(self.case, "weights", name, got, want)?;
        }
        Ok(())
    }
}

impl Config {
    fn losia(&self, pro: bool, model: &CausalLm, trace: &Trace) -> Result<LosiaConfig, CaseError> {
        let update_type = match self.update_type.as_str() {
            "asy_period" => UpdateType::Asynchronous,
            "syn_period" => UpdateType::Synchronous,
            other => return Err(format!("update_type {other}").into()),
        };
        let head = model.output_head_name();
        let subnets = trace.groups.iter().filter(|(group, _)| *group != "dense");
        let modules = subnets.flat_map(|(_, names)| names).filter(|name| *name != head);
        let modules = modules.map(|name| name.trim_end_matches(".weight").to_string());
        Ok(LosiaConfig::new(self.num_training_steps)
            .with_target_modules(TargetModules::Names(modules.collect()))
            .with_rank_factor(self.rank_factor)
            .with_period(self.period)
            .with_output_dim_factor(self.output_dim_factor)
            .with_output_head(Some(head.into()))
            .with_learning_rate(self.lr)
            .with_lr_scheduler(self.scheduler)
            .with_min_lr_ratio(self.min_lr_ratio)
            .with_warmup_ratio(self.warmup_ratio)
            .with_weight_decay(self.weight_decay)
            .with_scale(self.scale)
            .with_update_type(update_type)
            .with_sensitivity(self.taylor_type)
            .with_imp_beta1(self.imp_beta1)
            .with_imp_beta2(self.imp_beta2)
            .with_beta1(self.beta1)
            .with_beta2(self.beta2)
            .with_eps(self.eps)
            .with_pro(pro))
    }
}

fn first_subnets(
    trace: &Trace,
    data: &Tensors,
    base: &BTreeMap<String, TensorData>,
) -> Result<Vec<(String, Subnet)>, CaseError> {
    let subnets = trace.groups.iter().filter(|(group, _)| *group != "dense");
    let subnet = |name: &String| {
        let [outputs, inputs] =
            ["init_rows", "init_cols"].map(|keys| data.indices(&format!("{keys}.{name}")));
        let (rows, cols) = oriented(name, outputs?, inputs?);
        let shape = base.get(name).ok_or_else(|| format!("no weight `{name}`"))?.shape();
        let (m, n) = oriented(name, shape[0], shape[1]);
        Ok((name.clone(), Subnet::new(rows, cols, [m, n])?))
    };
    subnets.flat_map(|(_, names)| names).map(subnet).collect()
}

/// An embedding (a tied head) is `[vocab, hidden]` in Burn too; a linear weight is transposed.
fn is_embedding(name: &str) -> bool {
    name.contains("embed")
}

/// What the reference says of outputs and inputs, as rows and columns of Burn's weight.
fn oriented<T>(name: &str, outputs: T, inputs: T) -> (T, T) {
    match is_embedding(name) {
        true => (outputs, inputs),
        false => (inputs, outputs),
    }
}
