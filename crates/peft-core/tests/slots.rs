//! When weights are looked at and moved.

mod common;

use burn::optim::GradientsParams;
use common::{Mlp, attach, batches, config, device, step};
use peft_core::Event;
use peft_core::adapter::losia::LosiaConfig;
use peft_core::schedule::UpdateType;

/// Steps in a slot; with three layers, a cycle has nine.
const PERIOD: usize = 3;

/// Layers with a dense gradient at each step, and those that move at its end.
fn run(config: LosiaConfig, steps: usize) -> Vec<(Vec<usize>, Vec<String>)> {
    let device = device();
    let batches = batches(&device, 4);
    let (mut tuner, mut model) = attach(config.with_period(PERIOD), Mlp::new(&device, true));
    (0..steps)
        .map(|index| {
            let grads = model.loss(&batches[index % 4]).backward();
            let grads = GradientsParams::from_grads(grads, &model);
            let layers = [&model.blocks[0], &model.blocks[1], &model.head];
            let dense = |&layer: &usize| grads.get::<2>(layers[layer].weight.id).is_some();
            let tracked = (0..3).filter(dense).collect();
            let (next, _, events) = step(&mut tuner, model.clone(), &batches[index % 4]);
            model = next;
            let moved =
                events.into_iter().filter_map(Event::into_relocalization).map(|event| event.path);
            (tracked, moved.collect())
        })
        .collect()
}

#[test]
fn asynchronous_layers_take_turns() {
    let paths = ["blocks.0.weight", "blocks.1.weight", "head.weight"];
    for (index, (tracked, moved)) in run(config(), 20).into_iter().enumerate() {
        let layer = index / PERIOD % 3;
        assert_eq!(tracked, [layer], "step {index}");
        let last = index % PERIOD == PERIOD - 1;
        assert_eq!(moved, if last { vec![paths[layer]] } else { vec![] }, "step {index}");
    }
}

#[test]
fn synchronous_layers_share_the_first_slot_of_a_cycle() {
    let config = config().with_update_type(UpdateType::Synchronous);
    for (index, (tracked, moved)) in run(config, 20).into_iter().enumerate() {
        let first = (index / PERIOD).is_multiple_of(3);
        assert_eq!(tracked, if first { vec![0, 1, 2] } else { vec![] }, "step {index}");
        assert_eq!(moved.len(), if first && index % PERIOD == 2 { 3 } else { 0 }, "step {index}");
    }
}

#[test]
fn fixed_subnets_are_never_looked_at() {
    for (tracked, moved) in run(config().with_update_type(UpdateType::Fixed), 10) {
        assert!(tracked.is_empty() && moved.is_empty(), "{tracked:?}, {moved:?}");
    }
}

#[test]
fn without_a_gradient_a_subnet_stays() {
    let device = device();
    let batch = &batches(&device, 1)[0];
    let (mut tuner, mut model) = attach(config().with_period(PERIOD), Mlp::new(&device, true));
    let before = tuner.method().targets()[0].subnet().clone();
    for _ in 0..PERIOD {
        // A loss that `blocks.0` has no part in, as an expert that no token was sent to.
        let x = batch.0.clone().slice([0..6, 0..1]).repeat_dim(1, 16);
        let loss = peft_core::hook::linear(&model.head, x).mean();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (next, report) = tuner.step(model, &mut common::optim(), grads).unwrap();
        model = next;
        assert!(report.events.is_empty());
    }
    assert_eq!(tuner.method().targets()[0].subnet(), &before);
    assert!(tuner.method().settled().is_empty());
}
