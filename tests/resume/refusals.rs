//! Checkpoints that are damaged or belong to another run.

use burn_peft::train::run::{RunPlan, latest_checkpoint};

use crate::support::{self, PERIOD};
use crate::{STEPS, checkpoint, launch, losia, planned, saving, turn};

type Change<'a> = (&'a dyn Fn(&mut RunPlan), &'a str);

/// Runs once, then says why a changed plan cannot go on from checkpoint 4.
fn refused(changes: &[Change]) {
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 4)).unwrap();
    let from = checkpoint(out.path(), 4);
    for (change, expected) in changes {
        let other = tempfile::tempdir().unwrap();
        let mut plan = planned(&losia, other.path(), Some(&from));
        change(&mut plan);
        let error = launch(plan).map(|_| ()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("checkpoint-4"), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_the_difference() {
    let _turn = turn();
    refused(&[
        (
            &|plan| (plan.method, plan.method_config) = support::losia(STEPS, PERIOD + 1),
            "`period` = 3, but this run has 4",
        ),
        (&|plan| plan.config.seed = 5, "`seed` = 4, but this run has 5"),
        (&|plan| plan.train_samples[3].labels[4] += 1, "on other samples"),
        (
            &|plan| plan.base.as_mut().unwrap().weights = "other".into(),
            "on another base model: other weights",
        ),
        (
            &|plan| plan.base.as_mut().unwrap().tokenizer = Some("t".into()),
            "base model: other tokenizer.json",
        ),
        (&|plan| plan.base = None, "none is known"),
    ]);
}

#[test]
fn what_decides_no_weight_may_change() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 4)).unwrap();
    let (from, other) = (checkpoint(out.path(), 16), tempfile::tempdir().unwrap());
    let mut plan = planned(&losia, other.path(), Some(&from));
    plan.config.logging_steps = std::num::NonZeroUsize::new(7).unwrap();
    assert_eq!(launch(plan).unwrap().steps, STEPS);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_unless_it_is_named() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 6)).unwrap();
    let damaged = checkpoint(out.path(), STEPS);
    let state = damaged.join("state.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();

    let latest = latest_checkpoint(out.path()).unwrap();
    assert_eq!(latest.path.as_deref(), Some(&*checkpoint(out.path(), 12)));
    assert!(latest.passed_over[0].to_string().contains("state.safetensors: is damaged"));
    let error = launch(planned(&losia, out.path(), Some(&damaged))).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("state.safetensors: is damaged"), "{error}");
    assert!(error.hint().unwrap().contains("earlier checkpoint"));

    // Going on from the one before it puts a whole one in its place.
    let mut plan = planned(&losia, out.path(), latest.path.as_deref());
    plan.config.save_steps = std::num::NonZeroUsize::new(6);
    launch(plan).unwrap();
    let latest = latest_checkpoint(out.path()).unwrap();
    assert_eq!(latest.path, Some(damaged));
    assert!(latest.passed_over.is_empty());
}
