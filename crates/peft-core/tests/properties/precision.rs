//! Other dtypes, other backends, and recomputed activations.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};

use crate::common::{Batch, Mlp, cpu_devices, device, max_difference, same, values};
use crate::methods::{adapting, all};
use crate::{Run, STEPS, output};

struct To(FloatDType);

impl ModuleMapper for To {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| old.inner().cast(self.0).autodiff()).set_require_grad(true)
    }
}

#[test]
fn half_precision_bases_train_close_to_f32() {
    let [_, flex] = cpu_devices(); // ndarray has neither
    for candidate in adapting() {
        let mut single = Run::new(&candidate, &flex);
        let want = single.train(STEPS);
        for (dtype, bound) in [(FloatDType::BF16, 0.03), (FloatDType::F16, 0.01)] {
            let model = Mlp::new(&flex, true).map(&mut To(dtype));
            let mut half = Run::on(&candidate, model, &flex);
            let cast = |x: &Tensor<2>| x.clone().cast(dtype);
            half.batches = half.batches.iter().map(|b| Batch(cast(&b.0), cast(&b.1))).collect();
            for (got, want) in half.train(STEPS).iter().zip(&want) {
                let error = (got - want).abs() / want;
                assert!(error < bound, "{} {dtype:?}: {got} against {want}", candidate.name);
            }
            let merged = half.tuner.merge(half.model.clone()).expect("merges");
            let difference = max_difference(
                &half.output().convert::<f32>(),
                &output(&merged, &half.batches[0]).convert::<f32>(),
            );
            assert!(difference < 2.0 * bound, "{} {dtype:?}: {difference}", candidate.name);
        }
    }
}

#[test]
fn two_backends_agree() {
    for candidate in all() {
        let run = |device: &Device| Run::new(&candidate, device).train(STEPS);
        let [ndarray, flex] = cpu_devices().map(|device| run(&device));
        for (a, b) in ndarray.iter().zip(&flex) {
            assert!((a - b).abs() < 1e-4 * a, "{}: {a} against {b}", candidate.name);
        }
    }
}

#[test]
fn recomputing_activations_gives_the_same_training() {
    for candidate in all() {
        let kept = values(&Run::trained(&candidate, &device()).model);
        let recomputed = Run::trained(&candidate, &device().gradient_checkpointing());
        for ((path, kept), (_, recomputed)) in kept.iter().zip(&values(&recomputed.model)) {
            assert!(same(kept, recomputed), "{}: {path}", candidate.name);
        }
    }
}
