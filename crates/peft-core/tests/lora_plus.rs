//! LoRA+: what learns at B's rate.

mod common;

use burn::optim::GradientsParams;
use common::{Batch, Mlp, batches, device, max_difference, optim, values};
use peft_core::adapter::lora::{Lora, LoraConfig};
use peft_core::store::{AdapterFile, AdapterFiles};
use peft_core::{Optimizer, Tuner, TunerConfig};

fn config(ratio: f64) -> LoraConfig {
    LoraConfig::new(5)
        .with_use_dora(true)
        .with_learning_rate(1.0)
        .with_optimizer(Optimizer::Sgd)
        .with_loraplus_lr_ratio(ratio)
}

fn attach(lora: Lora) -> (Tuner<Lora>, Mlp) {
    Tuner::attach(lora, TunerConfig::default(), Mlp::new(&device(), true)).unwrap()
}

fn step((mut tuner, model): (Tuner<Lora>, Mlp), batch: &Batch) -> (Tuner<Lora>, Mlp) {
    let grads = GradientsParams::from_grads(model.loss(batch).backward(), &model);
    let (model, _) = tuner.step(model, &mut optim(), grads).unwrap();
    (tuner, model)
}

/// An adapter that was trained: A has no gradient while B is zero.
fn trained(batch: &Batch) -> Box<AdapterFiles> {
    let (tuner, model) = step(attach(Lora::new(config(1.0)).unwrap()), batch);
    match tuner.export(&model).unwrap() {
        Some(AdapterFile::Peft(files)) => files,
        other => panic!("{other:?}"),
    }
}

#[test]
fn b_and_the_magnitudes_of_dora_learn_faster_as_in_peft() {
    let batch = &batches(&device(), 1)[0];
    let adapter = trained(batch);
    // How far each parameter of the adapters goes in a step of gradient descent.
    let moved = |ratio: f64| -> Vec<(String, f32)> {
        let start = attach(Lora::from_adapter(&adapter, config(ratio)).unwrap());
        let before = values(&start.1);
        let after = values(&step(start, batch).1);
        let moved = before.iter().zip(&after).filter(|((path, _), _)| path.contains("peft"));
        moved.map(|((path, a), (_, b))| (path.clone(), max_difference(a, b))).collect()
    };
    let (plain, plus) = (moved(1.0), moved(4.0));
    assert_eq!(plain.len(), 3 * 3);
    for ((path, plain), (_, plus)) in plain.into_iter().zip(plus) {
        let want = if path.ends_with("lora_a") { 1.0 } else { 4.0 };
        let got = plus / plain;
        assert!(plain > 1e-5 && (got - want).abs() < 0.01, "{path}: {got} times {plain}");
    }
}
