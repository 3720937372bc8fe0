//! What a fresh method is, what moves and what does not, and which gradients there are.

use burn::optim::GradientsParams;

use crate::common::{Mlp, bits, device, max_difference, values};
use crate::methods::{adapting, all};
use crate::{Run, STEPS, output, tracked};

#[test]
fn a_fresh_method_is_the_identity() {
    let device = device();
    let plain = Mlp::new(&device, false);
    for candidate in all() {
        let run = Run::new(&candidate, &device);
        let difference = max_difference(&run.output(), &output(&plain, &run.batches[0]));
        assert!(difference < 2e-6, "{}: {difference}", candidate.name);
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
            let target = path.starts_with("blocks") && path.ends_with("weight");
            let same = bits(before) == bits(after);
            assert_eq!(same, !target, "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn exactly_the_methods_parameters_require_gradients() {
    for candidate in adapting() {
        let run = Run::new(&candidate, &device());
        for (path, tracked) in tracked(&run.model) {
            let adapter = path.contains("peft");
            // The weight in its own LoSiA slot is tracked for its importance alone.
            let in_slot = candidate.name.starts_with("losia") && path == "blocks.0.weight";
            assert_eq!(tracked, adapter || in_slot, "{}: {path}", candidate.name);
        }
        assert!(run.tuner.counts().trainable < run.tuner.counts().total / 2, "{}", candidate.name);
    }
}

#[test]
fn gradients_on_activations_equal_those_through_dense_weights() {
    let device = device();
    for candidate in adapting() {
        let mut run = Run::new(&candidate, &device);
        run.train(4); // not on a fresh adapter, where half of the gradients are zero
        let batch = &run.batches[1];
        let gradients = |hooked: bool| {
            let model = Mlp { hooked, ..run.model.clone() };
            GradientsParams::from_grads(model.loss(batch).backward(), &model)
        };
        let (activations, dense) = (gradients(true), gradients(false));
        let mut compared = 0;
        for (id, path) in ids(&run.model) {
            let Some(got) = activations.get::<2>(id) else { continue };
            let want = dense.get::<2>(id).expect("the same parameters");
            let (got, want) = (got.into_data(), want.into_data());
            let difference = max_difference(&got, &want);
            assert!(difference < 2e-6, "{}: {path} differs by {difference}", candidate.name);
            compared += usize::from(want.iter::<f32>().any(|x| x.abs() > 1e-4));
        }
        assert!(compared >= 2, "{}: {compared} gradients that are not zero", candidate.name);
    }
}

/// Identities of all matrices, by path.
pub fn ids(model: &Mlp) -> Vec<(burn::module::ParamId, String)> {
    struct Collect(Vec<String>, Vec<(burn::module::ParamId, String)>);
    impl burn::module::ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(
            &mut self,
            param: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            if D == 2 {
                self.1.push((param.id, self.0.join(".")));
            }
        }
    }
    let mut collect = Collect(vec![], vec![]);
    burn::module::Module::visit(model, &mut collect);
    collect.1
}
