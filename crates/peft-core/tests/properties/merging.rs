//! Merging, and taking adapters off again.

use peft_core::{Error, Params, Plan};

use crate::Run;
use crate::common::{Mlp, bits, device, max_difference, same, tolerance, values};
use crate::inspect::{output, parameters};
use crate::methods::{adapting, all};

#[test]
fn merged_and_unmerged_agree_and_merging_twice_is_refused_or_changes_nothing() {
    for candidate in all() {
        let run = Run::trained(&candidate, &device());
        let merged = run.tuner.merge(run.model.clone()).expect("merges");
        let difference = max_difference(&run.output(), &output(&merged, &run.batches[0]));
        assert!(difference < tolerance(1e-5), "{}: {difference}", candidate.name);
        let once = values(&merged);
        match run.tuner.merge(merged) {
            Err(Error::ParameterGone { .. }) if candidate.adapts => {}
            Ok(twice) if !candidate.adapts => {
                for ((path, once), (_, twice)) in once.iter().zip(&values(&twice)) {
                    assert_eq!(bits(once), bits(twice), "{}: {path}", candidate.name);
                }
            }
            other => panic!("{}: {:?}", candidate.name, other.err()),
        }
    }
}

#[test]
fn merging_changes_neither_the_model_given_nor_the_training_after_it() {
    let device = device();
    for candidate in all() {
        let (mut looked_at, mut plain) =
            (Run::new(&candidate, &device), Run::new(&candidate, &device));
        plain.train(crate::STEPS);
        looked_at.train(crate::STEPS - 3);
        let before = looked_at.output();
        match looked_at.tuner.merge(looked_at.model.clone()) {
            Ok(_) => {}
            Err(error) => panic!("{}: {error}", candidate.name),
        }
        assert!(same(&looked_at.output(), &before), "{}", candidate.name);
        looked_at.train(3);
        assert!(same(&looked_at.output(), &plain.output()), "{}", candidate.name);
    }
}

#[test]
fn detaching_restores_the_original_bit_for_bit_or_says_why_not() {
    let device = device();
    let original = values(&Mlp::new(&device, true));
    for candidate in all() {
        let run = Run::trained(&candidate, &device);
        let detached = run.tuner.detach(run.model);
        if !candidate.reversible {
            let error = detached.unwrap_err();
            assert!(matches!(error, Error::Irreversible { .. }), "{}: {error}", candidate.name);
            continue;
        }
        for ((path, want), (_, got)) in original.iter().zip(&values(&detached.unwrap())) {
            assert_eq!(bits(got), bits(want), "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn what_is_not_a_number_never_reaches_the_base() {
    for candidate in adapting() {
        let mut run = Run::trained(&candidate, &device());
        run.model = filled(run.model, f32::NAN);
        let before = values(&run.model);
        let error = run.tuner.merge(run.model.clone()).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{}: {error}", candidate.name);
        for ((path, before), (_, after)) in before.iter().zip(&values(&run.model)) {
            assert_eq!(bits(before), bits(after), "{}: {path}", candidate.name);
        }
    }
}

/// The model with all values of an adapter replaced by `value`.
pub fn filled(model: Mlp, value: f32) -> Mlp {
    let mut plan = Plan::default();
    let of_adapter = |path: &str| path.starts_with("blocks.0.weight.peft");
    for found in parameters(&model).into_iter().filter(|found| of_adapter(&found.path)) {
        let matrix = Params::of(&model).matrix(found.id).expect("a matrix");
        plan.set(found.id, matrix.full_like(value));
    }
    plan.apply(model).expect("applies").0
}
