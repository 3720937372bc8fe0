//! When weights are looked at and moved.

mod common;

use burn::optim::GradientsParams;
use common::{Batch, Mlp, attach, batches, config, device, step};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::schedule::UpdateType;
use peft_core::{Event, Tuner};

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

/// A step on a loss that `blocks.0` has a part in, or none, as an expert that no token was sent to.
fn routed(
    tuner: &mut Tuner<Losia>,
    model: Mlp,
    batch: &Batch,
    takes_part: bool,
) -> (Mlp, Vec<Event>) {
    let loss = match takes_part {
        true => model.loss(batch),
        false => {
            let x = batch.0.clone().slice([0..6, 0..1]).repeat_dim(1, 16);
            peft_core::hook::linear(&model.head, x).mean()
        }
    };
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let (model, report) = tuner.step(model, &mut common::optim(), grads).unwrap();
    (model, report.events)
}

#[test]
fn without_a_gradient_a_subnet_stays() {
    let device = device();
    let batch = &batches(&device, 1)[0];
    let (mut tuner, mut model) = attach(config().with_period(PERIOD), Mlp::new(&device, true));
    let before = tuner.method().targets()[0].subnet().clone();
    for _ in 0..PERIOD {
        let events;
        (model, events) = routed(&mut tuner, model, batch, false);
        assert!(events.is_empty());
    }
    assert_eq!(tuner.method().targets()[0].subnet(), &before);
    assert!(tuner.method().settled().is_empty());
}

#[test]
fn a_gradient_missing_at_the_end_of_a_slot_does_not_lose_what_was_gathered() {
    let device = device();
    let batch = &batches(&device, 1)[0];
    let (mut tuner, mut model) = attach(config().with_period(PERIOD), Mlp::new(&device, true));
    let mut moved = vec![];
    for index in 0..PERIOD {
        let events;
        (model, events) = routed(&mut tuner, model, batch, index + 1 < PERIOD);
        moved.extend(events.into_iter().filter_map(Event::into_relocalization));
    }
    let [moved] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!(moved.path, "blocks.0.weight");
    assert!(moved.strategy.is_some() && moved.score_share > 0.0);
    assert!(moved.gradient_share.is_nan(), "there is no gradient to have a share of");
}
