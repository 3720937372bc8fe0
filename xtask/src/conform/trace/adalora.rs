//! Kind `adalora_trace`: a recorded AdaLoRA run, reproduced step by step.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use peft_core::adapter::adalora::{AdaLora, Allocation};
use peft_core::{Event, Place, Tuner, TunerConfig, VisitFloat, visit_floats};
use peft_llama::CausalLm;
use serde::Deserialize;

use super::Replay;
use super::adalora_config::Config;
use crate::conform::peft_names::{TensorName, oriented};
use crate::conform::{Case, CaseError, Comparison, model, weights};

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
    Run::new(case, device)?.run(&mut comparison)?;
    Ok(comparison)
}

struct Run<'a> {
    config: Config,
    trace: Trace,
    replay: Replay<'a, AdaLora>,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case, device: &Device) -> Result<Self, CaseError> {
        let (config, trace): (Config, Trace) = (case.settings()?, case.json("trace")?);
        let start = config.adapter(&case.tensors("init")?)?;
        let adalora = AdaLora::from_adapter(&start, config.adalora()?)?;
        let base = model::load(&case.base()?, device)?;
        let attached = Tuner::attach(adalora, TunerConfig::default(), base)?;
        let optim = AdamConfig::new().init(); // nothing is trained densely
        let replay = Replay::new(case, device, config.batches, attached, optim)?;
        Ok(Self { config, trace, replay })
    }

    fn run(&mut self, comparison: &mut Comparison) -> Result<(), CaseError> {
        let case = self.replay.case;
        for index in 0..self.trace.steps.len() {
            self.gradients(index, comparison)?;
            let (task, grads) = self.replay.backward(index)?;
            let report = self.replay.step(grads)?;
            let penalty = report.penalty.map_or(0.0, |value| value.into_scalar::<f32>());
            let allocation = report.events.into_iter().find_map(Event::into_allocation);
            let step = &self.trace.steps[index];
            let what = format!("step {}", step.step);
            let error = (task + f64::from(penalty) - step.loss_total).abs();
            comparison.error(case, "loss", &what, error)?;
            let schedule = self.replay.tuner.method().budget();
            comparison.equal(&what, schedule.budget(step.step), step.budget);
            comparison.equal(&what, schedule.mask_due(step.step), step.mask_due);
            if !self.ranks(step, allocation, comparison)? {
                comparison.note(format!("a choice within min_gap differs at {what}"));
                return Ok(());
            }
            self.snapshot(index, comparison)?;
        }
        comparison.equal("rank_pattern", self.masks(), self.trace.rank_pattern.clone());
        comparison.all_seen(&self.replay.snapshots);
        Ok(())
    }

    /// Compares autodiff's gradients of the whole loss, regulariser included, where some are
    /// recorded.
    fn gradients(&self, index: usize, comparison: &mut Comparison) -> Result<(), CaseError> {
        let (prefix, model) = (format!("grad{index}."), &self.replay.model);
        if self.replay.snapshots.with_prefix(&prefix).next().is_none() {
            return Ok(());
        }
        let total = self.replay.loss(index)? + orthogonality(model) * self.config.orth_reg_weight;
        let grads = weights::gradients(model, &total.backward());
        for (name, want) in self.replay.snapshots.with_prefix(&prefix) {
            let got = TensorName::parse(name)?.find(&grads);
            let got = oriented(got.ok_or_else(|| format!("no gradient of `{name}`"))?, want);
            comparison.tensor(self.replay.case, "grads", name, &got, want)?;
        }
        Ok(())
    }

    /// Which triplets each module keeps.
    fn masks(&self) -> BTreeMap<String, Vec<bool>> {
        let module = |path: &str| path.trim_end_matches(".weight").to_string();
        let pattern = self.replay.tuner.method().rank_pattern();
        pattern.map(|(path, kept)| (module(path), kept.to_vec())).collect()
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
            comparison.error(self.replay.case, "threshold_rel", &what, error)?;
        }
        let Some(want) = &step.ranks else { return Ok(true) };
        let rank = |kept: Vec<bool>| kept.into_iter().filter(|kept| *kept).count();
        let got = self.masks().into_iter().map(|(module, kept)| (module, rank(kept))).collect();
        if *want == got {
            return Ok(true);
        }
        if let Some(gap) = step.gap
            && self.replay.is_close(gap)?
        {
            return Ok(false);
        }
        comparison.equal(&format!("{what}: ranks"), &got, want);
        Ok(true)
    }

    fn snapshot(&self, index: usize, comparison: &mut Comparison) -> Result<(), CaseError> {
        let record = self.replay.tuner.record(&self.replay.model)?;
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
            for (name, want) in self.replay.snapshots.with_prefix(&prefix) {
                let key = format!("{}{end}", TensorName::parse(name)?.record_key());
                let got = record.tensors.get(&key).ok_or_else(|| format!("no entry `{key}`"))?;
                let got = oriented(got, want);
                comparison.tensor(self.replay.case, quantity, name, &got, want)?;
            }
        }
        Ok(())
    }
}

/// The regulariser as PEFT's code computes it, for autodiff: the mean Frobenius norm of
/// `M·Mᵀ − I` over all A and B.
fn orthogonality(model: &CausalLm) -> Tensor<1> {
    struct Norms(Vec<Tensor<1>>);
    impl VisitFloat for Norms {
        fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
            let rows = match place.field() {
                "lora_a" => param.val().swap_dims(0, 1),
                "lora_b" => param.val(),
                _ => return,
            };
            let gram = rows.clone().matmul(rows.swap_dims(0, 1)); // [r, r]
            let eye = Tensor::<2>::eye(gram.dims()[0], &gram.device()).reshape(gram.shape());
            self.0.push((gram - eye).powi_scalar(2).sum().sqrt());
        }
    }
    let mut norms = Norms(vec![]);
    visit_floats(model, &mut norms);
    Tensor::cat(norms.0, 0).mean()
}
