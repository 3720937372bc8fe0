//! The update of a block against the LoSiA reference's formulas, step by step.

mod common;

use common::oracle::{COLS, Constant, ROWS, Reference, entries, gradient};
use common::{device, tolerance};
use peft_core::Event;
use peft_core::adapter::losia::LosiaConfig;
use peft_core::schedule::UpdateType;

const EPS: f64 = 1e-3; // large enough to show in what it is added to

fn config() -> LosiaConfig {
    common::config().with_rank_factor(0.5).with_eps(EPS)
}

/// Steps both and compares the effective weights after each step.
fn follow(config: LosiaConfig, steps: usize, mut reference: Reference, reset: bool) {
    let (mut tuner, mut model) = Constant::new(&device()).attach(config, None);
    let (mut since, mut moves) = (0, 0);
    for step in 0..steps {
        let subnet = tuner.method().targets()[0].subnet().clone();
        let lr = tuner.method().slot_learning_rate(step, 0);
        reference.step(&entries(&subnet), lr, step + 1 - since);
        let (next, report) = model.step(&mut tuner);
        model = next;
        reference.assert_matches(&model.weight(), &format!("step {step}"));
        if !report.events.is_empty() {
            reference.forget_moments();
            moves += 1;
            since = if reset { step + 1 } else { 0 };
        }
    }
    assert_eq!(moves, steps / 3);
}

fn reference() -> Reference {
    Reference::new(Constant::new(&device()).weight(), EPS)
}

#[test]
fn moments_restart_with_a_move_and_the_step_count_does_not() {
    follow(config(), 20, reference(), false);
}

#[test]
fn the_step_count_restarts_when_asked() {
    follow(config().with_reset_step_count(true), 20, reference(), true);
}

#[test]
fn weight_decay_shrinks_the_effective_entries_of_the_block() {
    let reference = Reference { weight_decay: 2.0, ..reference() };
    follow(config().with_weight_decay(2.0), 20, reference, false);
}

#[test]
fn scale_multiplies_the_gradient_of_the_block() {
    let reference = Reference { factor: 0.01, ..reference() };
    follow(config().with_scale(0.01), 20, reference, false);
}

#[test]
fn clipping_uses_the_norm_of_what_trains() {
    for update_type in [UpdateType::Fixed, UpdateType::Asynchronous] {
        let max_norm = 0.01;
        // Untouched until step 12: the same subnet with or without a dense gradient beside it.
        let config = config().with_period(12).with_update_type(update_type);
        let (mut tuner, mut model) = Constant::new(&device()).attach(config, Some(max_norm));
        let block = entries(tuner.method().targets()[0].subnet());
        let norm = block.iter().map(|&index| gradient(index).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 2.0 * max_norm, "clipping must matter");
        let mut reference = Reference { factor: max_norm / (norm + 1e-6), ..reference() };
        for step in 0..8 {
            let tracked = model.grads().get::<2>(model.layer.weight.id).is_some();
            assert_eq!(tracked, update_type == UpdateType::Asynchronous);
            reference.step(&block, tuner.method().slot_learning_rate(step, 0), step + 1);
            let (next, report) = model.step(&mut tuner);
            model = next;
            let reported = f64::from(report.grad_norm.expect("a norm").into_scalar::<f32>());
            assert!((reported - norm).abs() < 1e-6, "{reported} against {norm}");
            reference.assert_matches(&model.weight(), &format!("{update_type:?}, step {step}"));
        }
    }
}

#[test]
fn a_move_reports_the_share_of_the_squared_gradient_in_its_subnet() {
    let (mut tuner, mut model) = Constant::new(&device()).attach(config().with_period(1), None);
    let squares =
        |entries: Vec<usize>| entries.into_iter().map(|index| gradient(index).powi(2)).sum::<f64>();
    for _ in 0..3 {
        let (next, report) = model.step(&mut tuner);
        model = next;
        let [Event::Relocalization(event)] = &report.events[..] else { panic!("no move") };
        let share = squares(entries(&event.subnet)) / squares((0..ROWS * COLS).collect());
        assert!(share < 0.9, "some of it is outside: {share}");
        let error = (event.gradient_share - share).abs();
        assert!(error < f64::from(tolerance(1e-6)), "{} against {share}", event.gradient_share);
    }
}

#[test]
fn importance_sees_the_gradient_before_clipping() {
    let score = |max_grad_norm| {
        let (mut tuner, model) =
            Constant::new(&device()).attach(config().with_period(1), max_grad_norm);
        let (_, report) = model.step(&mut tuner);
        let [Event::Relocalization(event)] = &report.events[..] else { panic!("no move") };
        event.score_sum
    };
    assert!(score(None) > 0.0);
    assert_eq!(score(None), score(Some(1e-3)));
}
