//! What trains is f32 though the model is not, on the device under test if it has half precision.

mod common;

use std::ops::Range;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use common::oracle::Constant;
use common::{
    Batch, Mlp, attach, batches, config, device_with, max_difference, optim, same, step, values,
};
use peft_core::adapter::Adapter;
use peft_core::adapter::full::Full;
use peft_core::adapter::losia::LosiaConfig;
use peft_core::schedule::{DenseSchedule, LrScheduler, UpdateType};
use peft_core::{Record, Tuner, TunerConfig};

struct ToBf16;

impl ModuleMapper for ToBf16 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| old.inner().cast(FloatDType::BF16).autodiff()).set_require_grad(true)
    }
}

fn half(batch: &Batch) -> Batch {
    let cast = |x: &Tensor<2>| x.clone().cast(FloatDType::BF16);
    Batch(cast(&batch.0), cast(&batch.1))
}

#[test]
fn forward_and_training_stay_close_to_f32() {
    let device = device_with(DType::BF16);
    let batches = batches(&device, 4);
    let single = Mlp::new(&device, true);
    for pro in [true, false] {
        let config = || config().with_pro(pro).with_learning_rate(1e-2);
        let (mut tuner, mut model) = attach(config(), single.clone());
        let (mut half_tuner, mut half_model) = attach(config(), single.clone().map(&mut ToBf16));
        for index in 0..12 {
            let batch = &batches[index % 4];
            let (next, loss, _) = step(&mut tuner, model, batch);
            let (half_next, half_loss, _) = step(&mut half_tuner, half_model, &half(batch));
            (model, half_model) = (next, half_next);
            assert!((loss - half_loss).abs() < 0.02 * loss, "{half_loss} against {loss}");
        }
        for (path, data) in values(&half_model) {
            let is_block = path.ends_with("delta");
            assert_eq!(data.dtype(), if is_block { DType::F32 } else { DType::BF16 }, "{path}");
        }
        let y = half_model.forward(half(&batches[0]).0);
        assert_eq!(y.dtype(), DType::BF16);
        let want = half_tuner.merge(half_model).unwrap().forward(half(&batches[0]).0);
        let (got, want) = (y.into_data().convert::<f32>(), want.into_data().convert::<f32>());
        assert!(max_difference(&got, &want) < 0.03, "merged and unmerged agree");
    }
}

#[test]
fn updates_too_small_for_bf16_accumulate() {
    let device = device_with(DType::BF16);
    let lr = 2e-4; // of weights near 1, whose bf16 neighbours are 4e-3 away and more
    let config = LosiaConfig::new(100)
        .with_rank_factor(1.0)
        .with_update_type(UpdateType::Fixed)
        .with_lr_scheduler(LrScheduler::NoRewarming)
        .with_warmup_ratio(0.0)
        .with_min_lr_ratio(1.0)
        .with_learning_rate(lr);
    let (mut tuner, mut model) = ones(&device, DType::BF16).attach(config, None);
    for _ in 0..100 {
        (model, _) = model.step(&mut tuner);
    }
    let Some(Adapter::Subnet(block)) = model.layer.weight.reparameterization() else {
        panic!("no adapter")
    };
    assert_eq!(block.delta.val().dtype(), DType::F32);
    check_moved(&tuner.merge(model).unwrap(), 100.0 * lr);
}

#[test]
fn the_importance_of_a_half_precision_weight_is_in_f32() {
    let device = device_with(DType::BF16);
    let importance = |model: Constant| {
        let (mut tuner, model) = model.attach(config(), None);
        let (model, _) = model.step(&mut tuner);
        let tensors = tuner.record(&model).unwrap().tensors;
        ["importance", "uncertainty"].map(|name| tensors[&format!("layer.weight.{name}")].clone())
    };
    let single = importance(Constant::new(&device));
    let half = importance(Constant::new(&device).map(&mut ToBf16));
    for (want, got) in single.iter().zip(&half) {
        assert_eq!(got.dtype(), DType::F32);
        let largest = want.iter::<f32>().fold(0.0, f32::max);
        let error = max_difference(want, got) / largest;
        assert!(largest > 0.0 && error > 0.0 && error < 0.02, "{error} of {largest}");
    }
}

fn ones(device: &Device, dtype: DType) -> Constant {
    let weight = Tensor::<2>::full([4, 6], 1.0, (device, dtype));
    Constant { layer: burn::nn::Linear { weight: Param::from_tensor(weight), bias: None } }
}

/// Adam moves an entry with a constant gradient by about the learning rate a step; entry 8 has none.
fn check_moved(model: &Constant, distance: f64) {
    for (index, moved) in model.weight().into_iter().map(|value| 1.0 - value).enumerate() {
        let want = distance * common::oracle::gradient(index).signum();
        let want = if index == 8 { 0.0 } else { want };
        assert!((moved - want).abs() < 5e-3, "entry {index}: {moved} against {want}");
    }
}

/// Full fine-tuning with Adam, whose `eps` of 1e-8 f16 has not.
struct Dense {
    tuner: Tuner<Full>,
    model: Constant,
    optim: ModuleOptimizer,
}

impl Dense {
    fn new(device: &Device, dtype: DType, learning_rate: f64) -> Self {
        let schedule = DenseSchedule::new(100, 0.0, 1.0);
        let full = Full { learning_rate, schedule, target_modules: None };
        let (tuner, model) =
            Tuner::attach(full, TunerConfig::default(), ones(device, dtype)).unwrap();
        Self { tuner, model, optim: optim() }
    }

    fn steps(mut self, steps: Range<usize>) -> Self {
        for _ in steps {
            let grads = self.model.grads();
            (self.model, _) = self.tuner.step(self.model, &mut self.optim, grads).unwrap();
        }
        self
    }

    fn record(&self) -> Record {
        self.tuner.record(&self.model).unwrap()
    }
}

#[test]
fn dense_updates_too_small_for_half_precision_accumulate() {
    for dtype in [DType::BF16, DType::F16] {
        let device = device_with(dtype);
        let whole = Dense::new(&device, dtype, 2e-4).steps(0..100);
        assert_eq!(whole.model.layer.weight.val().dtype(), dtype);
        check_moved(&whole.model, 100.0 * 2e-4);

        let half = Dense::new(&device, dtype, 2e-4).steps(0..40);
        let mut rest = Dense::new(&device, dtype, 2e-4);
        rest.model = rest.tuner.restore(rest.model, &half.record()).unwrap();
        rest.optim = rest.optim.load_record(half.optim.to_record());
        let (resumed, whole) = (rest.steps(40..100).record(), whole.record());
        assert_eq!(whole.tensors["dense.layer.weight"].dtype(), DType::F32);
        for (name, value) in &whole.tensors {
            assert!(same(value, &resumed.tensors[name]), "{dtype:?} {name}");
        }
    }
}
