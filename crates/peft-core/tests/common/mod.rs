//! A small model on two forward paths, and what tests need around it.
#![allow(dead_code, reason = "every test file uses its own part")]

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor, TensorData, activation};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::{Event, Tuner, TunerConfig, device_by_name, hook};

/// The device under test: `BURN_PEFT_TEST_DEVICE`, or ndarray.
pub fn device() -> Device {
    let name = std::env::var("BURN_PEFT_TEST_DEVICE").unwrap_or_else(|_| "ndarray".into());
    device_by_name(&name).expect("BURN_PEFT_TEST_DEVICE names a compiled backend").autodiff()
}

/// Three layers with biases: `blocks.0`, `blocks.1` and a `head`.
#[derive(Module, Debug)]
pub struct Mlp {
    pub blocks: Vec<Linear>,
    pub head: Linear,
    #[module(skip)]
    pub hooked: bool,
}

impl Mlp {
    pub fn new(device: &Device, hooked: bool) -> Self {
        device.seed(7);
        let linear = |i, o| LinearConfig::new(i, o).init(device);
        let blocks = vec![linear(12, 20), linear(20, 16)];
        let model = Self { blocks, head: linear(16, 10), hooked };
        model.clone().num_params();
        model
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.blocks.iter().fold(x, |x, layer| activation::silu(self.linear(layer, x)));
        self.linear(&self.head, x)
    }

    fn linear(&self, layer: &Linear, x: Tensor<2>) -> Tensor<2> {
        match self.hooked {
            true => hook::linear(layer, x),
            false => layer.forward(x),
        }
    }

    pub fn loss(&self, batch: &Batch) -> Tensor<1> {
        (self.forward(batch.0.clone()) - batch.1.clone()).powi_scalar(2).mean()
    }
}

/// Inputs and targets.
pub struct Batch(pub Tensor<2>, pub Tensor<2>);

pub fn batches(device: &Device, count: usize) -> Vec<Batch> {
    device.seed(11);
    let normal = Distribution::Normal(0.0, 1.0);
    let random = |n| Tensor::<2>::random([6, n], normal, device).detach();
    (0..count).map(|_| Batch(random(12), random(10))).collect()
}

pub fn config() -> LosiaConfig {
    LosiaConfig::new(64).with_rank_factor(0.25).with_period(3).with_learning_rate(3e-2).with_seed(5)
}

pub fn attach(config: LosiaConfig, model: Mlp) -> (Tuner<Losia>, Mlp) {
    let losia = Losia::new(config).expect("valid configuration");
    Tuner::attach(losia, TunerConfig::default(), model).expect("attaches")
}

pub fn optim() -> ModuleOptimizer {
    AdamConfig::new().with_epsilon(1e-8).init()
}

/// One step on a batch; the loss before it and what was reported.
pub fn step(tuner: &mut Tuner<Losia>, model: Mlp, batch: &Batch) -> (Mlp, f32, Vec<Event>) {
    let loss = model.loss(batch);
    let value = loss.clone().into_scalar::<f32>();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let (model, report) = tuner.step(model, &mut optim(), grads, 1.0).expect("steps");
    (model, value, report.events)
}

/// Every float parameter by path, adapters included.
pub fn values<M: Module>(model: &M) -> Vec<(String, TensorData)> {
    struct Collect(Vec<String>, Vec<(String, TensorData)>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.base().into_data()));
        }
    }
    let mut collect = Collect(vec![], vec![]);
    model.visit(&mut collect);
    collect.1
}

pub fn max_difference(a: &TensorData, b: &TensorData) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.iter::<f32>().zip(b.iter::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub fn bits(data: &TensorData) -> Vec<u32> {
    data.iter::<f32>().map(f32::to_bits).collect()
}
