//! Other dtypes and other backends.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use peft_core::Error;

use crate::common::{Batch, Mlp, cpu_devices, device_with, max_difference};
use crate::inspect::{gradients, output, parameters};
use crate::merging::filled;
use crate::methods::{Candidate, adapting, all};
use crate::{Run, STEPS};

/// Another type for all parameters but those of adapters, and where they require gradients.
struct To(FloatDType, Vec<(ParamId, bool)>);

impl ModuleMapper for To {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.1.iter().find(|(id, _)| *id == param.id) {
            Some((_, tracked)) => {
                param.map(|old| old.inner().cast(self.0).autodiff()).set_require_grad(*tracked)
            }
            None => param,
        }
    }
}

pub fn cast(model: Mlp, dtype: FloatDType) -> Mlp {
    let base = parameters(&model).into_iter().filter(|found| !found.path.contains("peft"));
    let base = base.map(|found| (found.id, found.tracked)).collect();
    model.map(&mut To(dtype, base))
}

fn cast_batches(batches: &[Batch], dtype: FloatDType) -> Vec<Batch> {
    let cast = |x: &Tensor<2>| x.clone().cast(dtype);
    batches.iter().map(|Batch(x, y)| Batch(cast(x), cast(y))).collect()
}

/// Half-precision types, and by what share a loss or a gradient may differ from that in f32.
const HALVES: [(FloatDType, f32); 2] = [(FloatDType::BF16, 0.03), (FloatDType::F16, 0.01)];

/// Each of [`HALVES`] with every method, and a device that computes in it.
fn cases() -> impl Iterator<Item = (Candidate, FloatDType, f32, Device)> {
    let of = |(dtype, bound): (FloatDType, f32)| {
        let device = device_with(DType::from(dtype));
        all().into_iter().map(move |candidate| (candidate, dtype, bound, device.clone()))
    };
    HALVES.into_iter().flat_map(of)
}

#[test]
fn half_precision_bases_train_close_to_f32() {
    for (candidate, dtype, bound, device) in cases() {
        let want = Run::new(&candidate, &device).train(STEPS);
        let mut half = Run::on(&candidate, cast(Mlp::new(&device, true), dtype), &device);
        half.batches = cast_batches(&half.batches, dtype);
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

#[test]
fn half_precision_gradients_are_close_to_those_in_f32() {
    for (candidate, dtype, bound, device) in cases() {
        let mut single = Run::new(&candidate, &device);
        single.train(4); // not on a fresh adapter, where half of the gradients are zero
        let want = gradients(&single.model, &single.batches[2]);
        let batch = &cast_batches(&single.batches, dtype)[2];
        let got = gradients(&cast(single.model.clone(), dtype), batch);
        assert!(got.len() >= 2 && got.len() == want.len(), "{}", candidate.name);
        for ((path, want), (_, got)) in want.iter().zip(&got) {
            let largest = want.iter::<f32>().map(f32::abs).fold(0.0, f32::max);
            let error = max_difference(want, &got.clone().convert::<f32>()) / largest;
            assert!(error < bound, "{} {dtype:?} {path}: {error}", candidate.name);
        }
    }
}

#[test]
fn what_a_half_precision_weight_cannot_hold_is_not_merged() {
    let device = device_with(DType::F16);
    for candidate in adapting() {
        let run = Run::trained(&candidate, &device);
        let large = filled(run.model, 1e6); // of f16, 65504 is the largest
        run.tuner.merge(large.clone()).expect("f32 holds it");
        let error = run.tuner.merge(cast(large, FloatDType::F16)).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{}: {error}", candidate.name);
    }
}

#[test]
fn what_is_not_a_number_is_no_small_difference() {
    let [zero, one, nan] = [0.0, 1.0, f32::NAN].map(|x| TensorData::from([x, 0.5]));
    assert_eq!(max_difference(&zero, &one), 1.0);
    assert!(max_difference(&zero, &nan).is_nan() && max_difference(&nan, &nan).is_nan());
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
