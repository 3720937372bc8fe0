//! Kind `losia_trace`: a recorded LoSiA run, reproduced step by step on both forward paths.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use peft_core::adapter::losia::{Losia, Relocalization};
use peft_core::subnet::Subnet;
use peft_core::{Event, Importance, Tuner};
use serde::Deserialize;

use super::Replay;
use super::losia_config::{Config, Groups};
use crate::conform::tensors::Tensors;
use crate::conform::{Case, CaseError, Comparison, model, weights};

#[derive(Deserialize)]
struct Trace {
    groups: Groups,
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
    score_sum: f64,
}

#[derive(Deserialize)]
struct Checksum {
    l2_change: f64,
}

pub fn run(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    for pro in [true, false] {
        Run::new(case, device, pro)?.run(&mut comparison)?;
    }
    Ok(comparison)
}

struct Run<'a> {
    config: Config,
    trace: Trace,
    base: BTreeMap<String, TensorData>,
    replay: Replay<'a, Losia>,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case, device: &Device, pro: bool) -> Result<Self, CaseError> {
        let (config, trace): (Config, Trace) = (case.settings()?, case.json("trace")?);
        let model = model::load(&case.base()?, device)?;
        let base = weights::effective(&model);
        let first = first_subnets(&trace.groups, &case.tensors("init")?, &base)?;
        let losia = Losia::new(config.losia(pro, model.output_head_name(), &trace.groups)?)?;
        let losia = losia.with_first_subnets(first);
        let attached = Tuner::attach(losia, config.tuner(&trace.groups), model)?;
        let replay = Replay::new(case, device, config.batches, attached, config.optim())?;
        Ok(Self { config, trace, base, replay })
    }

    fn run(&mut self, comparison: &mut Comparison) -> Result<(), CaseError> {
        let case = self.replay.case;
        let losia = self.replay.tuner.method();
        comparison.equal("total_id", losia.slot_count(), self.config.total_id);
        for index in 0..self.trace.steps.len() {
            self.learning_rates(index, comparison)?;
            let (loss, grads) = self.replay.backward(index)?;
            self.scores(index, &grads, comparison)?;
            let report = self.replay.step(grads)?;
            let moved = report.events.into_iter().filter_map(Event::into_relocalization);
            let step = &self.trace.steps[index];
            let what = format!("step {}", step.step);
            comparison.error(case, "loss", &what, (loss - step.loss).abs())?;
            if !self.selections(step, &moved.collect::<Vec<_>>(), comparison)? {
                comparison.note(format!("a choice within min_gap differs at {what}"));
                return Ok(());
            }
            let after = format!("after{index}.");
            self.weights(self.replay.snapshots.with_prefix(&after), comparison)?;
        }
        self.last(comparison)
    }

    fn learning_rates(&self, index: usize, comparison: &mut Comparison) -> Result<(), CaseError> {
        let (step, tuner) = (&self.trace.steps[index], &self.replay.tuner);
        for (group, want) in &step.lr {
            let got = match group.parse::<usize>() {
                Ok(slot) => tuner.method().slot_learning_rate(step.step, slot),
                Err(_) => tuner.dense_learning_rate(step.step),
            };
            let what = format!("step {} group {group}", step.step);
            comparison.error(self.replay.case, "lr", &what, (got - want).abs())?;
        }
        Ok(())
    }

    /// Compares the scores by which subnets move at the end of a step, where they are recorded: the
    /// importance before the step, and what the step's gradients add to it.
    fn scores(
        &self,
        index: usize,
        grads: &Gradients,
        comparison: &mut Comparison,
    ) -> Result<(), CaseError> {
        let (prefix, model) = (format!("score{index}."), &self.replay.model);
        if self.replay.snapshots.with_prefix(&prefix).next().is_none() {
            return Ok(());
        }
        let record = self.replay.tuner.record(model)?.tensors;
        let (weights, grads) = (weights::effective(model), weights::gradients(model, grads));
        let tensor = |data: &TensorData| Tensor::<2>::from_data(data.clone(), &Device::flex());
        for (name, want) in self.replay.snapshots.with_prefix(&prefix) {
            let (weight, grad) = weights.get(name).zip(grads.get(name)).ok_or("no gradient")?;
            let sample = self.config.taylor_type.of(tensor(weight), tensor(grad));
            let recorded = |field: &str| {
                let data = record.get(&format!("{name}.{field}"))?;
                Some(if is_embedding(name) { tensor(data) } else { tensor(data).transpose() })
            };
            let (b1, b2) = (self.config.imp_beta1, self.config.imp_beta2);
            let importance = match recorded("importance").zip(recorded("uncertainty")) {
                Some((i, u)) => Importance { i, u }.update(sample, b1, b2),
                None => Importance::first(sample, b1, b2),
            };
            let got = importance.score().into_data();
            comparison.tensor(self.replay.case, "score_rel", name, &got, want)?;
        }
        Ok(())
    }

    /// Whether every selection is the recorded one.
    fn selections(
        &self,
        step: &Step,
        moved: &[Relocalization],
        comparison: &mut Comparison,
    ) -> Result<bool, CaseError> {
        let what = format!("step {}", step.step);
        let got: BTreeSet<_> = moved.iter().map(|moved| &moved.path).collect();
        comparison.equal(&format!("{what}: what moved"), got, step.reselect.keys().collect());
        let mut comparable = true;
        for moved in moved {
            let Some(want) = step.reselect.get(&moved.path) else { continue };
            let (rows, cols) = oriented(&moved.path, &want.rows, &want.cols);
            if moved.subnet.rows() == rows && moved.subnet.cols() == cols {
                let error = (moved.score_sum - want.score_sum).abs() / want.score_sum;
                comparison.error(self.replay.case, "score_rel", &moved.path, error)?;
            } else if self.replay.is_close(want.gap)? {
                comparable = false;
            } else {
                comparison.problem(format!("{what}: {}", moved.path));
            }
        }
        Ok(comparable)
    }

    fn last(&self, comparison: &mut Comparison) -> Result<(), CaseError> {
        comparison.all_seen(&self.replay.snapshots);
        let last = self.replay.case.tensors_if_any("final")?;
        self.weights(last.with_prefix(""), comparison)?;
        let trained = weights::effective(&self.replay.model);
        for (name, want) in &self.trace.final_checksums {
            let [got, base] = [&trained, &self.base].map(|of| of.get(name));
            let (got, base) = got.zip(base).ok_or_else(|| format!("no weight `{name}`"))?;
            let change = got.iter::<f32>().zip(base.iter::<f32>());
            let change = change.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
            let error = (change - want.l2_change).abs() / want.l2_change.max(f64::MIN_POSITIVE);
            comparison.error(self.replay.case, "checksum_rel", name, error)?;
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
        let trained = weights::effective(&self.replay.model);
        for (name, want) in wanted {
            let got = trained.get(name).ok_or_else(|| format!("no weight `{name}`"))?;
            comparison.tensor(self.replay.case, "weights", name, got, want)?;
        }
        Ok(())
    }
}

fn first_subnets(
    groups: &Groups,
    init: &Tensors,
    base: &BTreeMap<String, TensorData>,
) -> Result<Vec<(String, Subnet)>, CaseError> {
    let subnet = |name: &String| {
        let [outputs, inputs] =
            ["init_rows", "init_cols"].map(|keys| init.indices(&format!("{keys}.{name}")));
        let (rows, cols) = oriented(name, outputs?, inputs?);
        let shape = base.get(name).ok_or_else(|| format!("no weight `{name}`"))?.shape();
        let (m, n) = oriented(name, shape[0], shape[1]);
        Ok((name.clone(), Subnet::new(rows, cols, [m, n])?))
    };
    groups.subnets().map(subnet).collect()
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
