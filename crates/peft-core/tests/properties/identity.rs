//! What a fresh method is, what moves and what does not.

use crate::common::{Mlp, bits, device, max_difference, tolerance, values};
use crate::inspect::output;
use crate::methods::{all, is_target};
use crate::{Run, STEPS};

#[test]
fn a_fresh_method_is_the_identity() {
    let device = device();
    let plain = Mlp::new(&device, false);
    for candidate in all() {
        let run = Run::new(&candidate, &device);
        let difference = max_difference(&run.output(), &output(&plain, &run.batches[0]));
        assert!(difference < tolerance(2e-6), "{}: {difference}", candidate.name);
    }
}

#[test]
fn training_learns_and_only_the_targets_move() {
    let device = device();
    let original = values(&Mlp::new(&device, true));
    for candidate in all() {
        let mut run = Run::new(&candidate, &device);
        let losses = run.train(STEPS);
        // Four steps see all batches.
        let [first, last] = [&losses[..4], &losses[STEPS - 4..]].map(|l| l.iter().sum::<f32>());
        assert!(last < 0.99 * first, "{}: {losses:?}", candidate.name);
        let merged = values(&run.tuner.merge(run.model).expect("merges"));
        for ((path, before), (_, after)) in original.iter().zip(&merged) {
            let same = bits(before) == bits(after);
            assert_eq!(same, !is_target(path), "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn adapters_move_and_all_beside_them_keeps_its_bits() {
    for candidate in all() {
        let mut run = Run::new(&candidate, &device());
        let before = values(&run.model);
        run.train(STEPS - 1); // at the end of a slot, a block that was settled is zero again
        for ((path, before), (_, after)) in before.iter().zip(&values(&run.model)) {
            // LoSiA settles blocks into its targets, full fine-tuning trains them.
            let trained = is_target(path) && (candidate.is_losia() || !candidate.adapts);
            let moves = trained || path.contains("peft");
            let same = before.shape() == after.shape() && bits(before) == bits(after);
            assert_eq!(same, !moves, "{}: {path}", candidate.name);
        }
    }
}
