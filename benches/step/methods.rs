//! The contestants, on any model.

use burn::module::Module;
use burn::nn::Linear;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Distribution, Tensor};
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::adapter::lora::{Lora, LoraConfig};
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::schedule::{DenseSchedule, UpdateType};
use burn_peft::core::{Error, Importance, Method, Sensitivity, Tuner, TunerConfig};

use crate::ALLOCATOR;
use crate::harness::{Contestant, Kind, PAIRS, Step};

/// Share of rows and of columns in a subnet, `p`.
pub const RANK_FACTOR: f64 = 0.125;
const RANK: usize = 16;
const LEARNING_RATE: f64 = 1e-5;
const SMOOTHING: f64 = 0.85;

/// A model with a loss on a fixed batch.
pub trait Workload: Module + 'static {
    type Batch: 'static;

    fn loss(&self, batch: &Self::Batch) -> Tensor<1>;
}

/// A forward pass, and the bytes it leaves alive.
fn forward<M: Workload>(model: &M, batch: &M::Batch) -> (Tensor<1>, usize) {
    let before = ALLOCATOR.current_usage();
    let loss = model.loss(batch);
    let activations = ALLOCATOR.current_usage().saturating_sub(before);
    (loss, activations)
}

/// Forward and backward of a model that trains nothing.
pub fn floor<M: Workload>(model: M, batch: M::Batch) -> Contestant {
    let step = move || {
        let (loss, activations) = forward(&model, &batch);
        loss.backward();
        Ok(Step { activations, moved: false })
    };
    Contestant { kind: Kind::Floor, step: Box::new(step) }
}

/// Every method. `make` gives each a model of its own, of `slots` layers; `dense` names what is
/// trained densely beside adapters.
pub fn tuned<M: Workload>(
    make: impl Fn() -> (M, M::Batch),
    slots: usize,
    dense: &[String],
) -> Result<Vec<Contestant>, Error> {
    let schedule = DenseSchedule::new(PAIRS, 0.0, 1.0);
    let full = Full { learning_rate: LEARNING_RATE, schedule, target_modules: None };
    let losia = LosiaConfig::new(PAIRS)
        .with_rank_factor(RANK_FACTOR)
        .with_learning_rate(LEARNING_RATE)
        .with_period(PAIRS / slots);
    let pro_outside = losia.clone().with_update_type(UpdateType::Fixed);
    let lora = LoraConfig::new(PAIRS).with_r(RANK).with_learning_rate(LEARNING_RATE);
    let adalora = AdaLoraConfig::new(2 * PAIRS) // no cut within the measurement
        .with_init_r(RANK)
        .with_target_r(RANK / 2)
        .with_tinit(2 * PAIRS - 2)
        .with_learning_rate(LEARNING_RATE);
    let attach = |kind, method: Box<dyn Method>, dense: &[String]| {
        let (model, batch) = make();
        with_tuner(kind, method, dense.to_vec(), model, batch)
    };
    Ok(vec![
        attach(Kind::Full, Box::new(full), &[])?,
        attach(Kind::Lora, Box::new(Lora::new(lora.clone())?), dense)?,
        attach(Kind::Dora, Box::new(Lora::new(lora.with_use_dora(true))?), dense)?,
        attach(Kind::AdaLora, Box::new(AdaLora::new(adalora)?), dense)?,
        attach(Kind::Losia, Box::new(Losia::new(losia.clone().with_pro(false))?), dense)?,
        attach(Kind::ProOutside, Box::new(Losia::new(pro_outside)?), dense)?,
        attach(Kind::ProCycle, Box::new(Losia::new(losia)?), dense)?,
    ])
}

fn with_tuner<M: Workload>(
    kind: Kind,
    method: Box<dyn Method>,
    modules_to_save: Vec<String>,
    model: M,
    batch: M::Batch,
) -> Result<Contestant, Error> {
    let config = TunerConfig { modules_to_save, ..TunerConfig::default() };
    let (mut tuner, model) = Tuner::attach(method, config, model)?;
    let mut optim = AdamWConfig::new().init();
    let mut slot = Some(model);
    let step = move || {
        let Some(model) = slot.take() else { return Ok(Step::default()) }; // an earlier step failed
        let (loss, activations) = forward(&model, &batch);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (model, report) = tuner.step(model, &mut optim, grads, 1.0)?;
        slot = Some(model);
        Ok(Step { activations, moved: !report.events.is_empty() })
    };
    Ok(Contestant { kind, step: Box::new(step) })
}

/// Burn's own LoRA: AdamW trains whatever requires a gradient.
pub fn burn_lora<M: Workload>(model: M, batch: M::Batch) -> Contestant {
    let model = model.apply_lora(burn::module::Lora::new(RANK, RANK as f64));
    let mut optim = AdamWConfig::new().init();
    let mut slot = Some(model);
    let step = move || {
        let Some(model) = slot.take() else { return Ok(Step::default()) };
        let (loss, activations) = forward(&model, &batch);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        slot = Some(optim.step(LEARNING_RATE, model, grads));
        Ok(Step { activations, moved: false })
    };
    Contestant { kind: Kind::BurnLora, step: Box::new(step) }
}

/// The importance update of the weights that share a slot.
pub fn importance(layers: &[&Linear]) -> Contestant {
    let start = |layer: &&Linear| {
        let weight = layer.weight.val().without_autodiff();
        let normal = Distribution::Normal(0.0, 1e-3);
        let grad = Tensor::random(weight.dims(), normal, &weight.device());
        let sample = Sensitivity::ParamMix.of(weight.clone(), grad.clone());
        (weight, grad, Some(Importance::first(sample, SMOOTHING, SMOOTHING)))
    };
    let mut weights: Vec<_> = layers.iter().map(start).collect();
    let step = move || {
        for (weight, grad, averages) in &mut weights {
            let sample = Sensitivity::ParamMix.of(weight.clone(), grad.clone());
            *averages = averages.take().map(|old| old.update(sample, SMOOTHING, SMOOTHING));
        }
        Ok(Step::default())
    };
    Contestant { kind: Kind::Importance, step: Box::new(step) }
}
