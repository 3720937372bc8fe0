//! Gradients, computed in other ways.

use burn::tensor::GradientCheckpointingStrategy;

use crate::Run;
use crate::common::{Mlp, device, max_difference, same, tolerance, values};
use crate::inspect::gradients;
use crate::methods::{adapting, all};

#[test]
fn gradients_on_activations_equal_those_through_dense_weights() {
    for candidate in adapting() {
        let mut run = Run::new(&candidate, &device());
        run.train(4); // not on a fresh adapter, where half of the gradients are zero
        let of = |hooked| gradients(&Mlp { hooked, ..run.model.clone() }, &run.batches[1]);
        let (got, want) = (of(true), of(false));
        assert_eq!(got.len(), want.len(), "{}", candidate.name);
        let mut not_zero = 0;
        for ((path, got), (_, want)) in got.iter().zip(&want) {
            let difference = max_difference(got, want);
            assert!(
                difference < tolerance(2e-6),
                "{}: {path} differs by {difference}",
                candidate.name
            );
            not_zero += usize::from(want.iter::<f32>().any(|x| x.abs() > 1e-4));
        }
        assert!(not_zero >= 2, "{}: {not_zero} gradients that are not zero", candidate.name);
    }
}

#[test]
fn recomputing_activations_gives_the_same_gradients_and_training() {
    let devices = [device(), device().gradient_checkpointing()];
    for candidate in all() {
        let [kept, recomputed] = devices.each_ref().map(|device| Run::trained(&candidate, device));
        let batch = &recomputed.batches[1];
        // Operations refuse to mix strategies: what the loss was computed with, all parameters have.
        let strategy = recomputed.model.loss(batch).gradient_checkpointing_strategy();
        assert_eq!(strategy, Some(GradientCheckpointingStrategy::Balanced), "{}", candidate.name);
        let of = |run: &Run| [values(&run.model), gradients(&run.model, &run.batches[1])];
        for (kept, recomputed) in of(&kept).iter().zip(of(&recomputed)) {
            assert!(kept.len() >= 2 && kept.len() == recomputed.len(), "{}", candidate.name);
            for ((path, kept), (_, recomputed)) in kept.iter().zip(&recomputed) {
                assert!(same(kept, recomputed), "{}: {path}", candidate.name);
            }
        }
    }
}
