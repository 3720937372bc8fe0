//! A small model on two forward paths, and what tests need around it.
#![allow(dead_code, reason = "every test file uses its own part")]

pub mod oracle;

use std::sync::OnceLock;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{DType, Device, Tensor, TensorData, activation};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::{
    Event, Place, Tuner, TunerConfig, VisitFloat, device_by_name, hook, is_cpu, multiplies_in_f32,
    to_host, visit_floats,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The device under test.
pub fn device() -> Device {
    peft_testing::device().autodiff()
}

/// The device under test if it computes in `dtype`, else flex.
pub fn device_with(dtype: DType) -> Device {
    peft_testing::device_with(dtype).autodiff()
}

/// Both CPU backends.
pub fn cpu_devices() -> [Device; 2] {
    ["ndarray", "flex"].map(|name| device_by_name(name).expect("compiled in").autodiff())
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
        let blocks = vec![linear(12, 20, 1, device), linear(20, 16, 2, device)];
        Self { blocks, head: linear(16, 10, 3, device), hooked }
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
    let random = |n, seed| random([6, n], seed, device);
    (0..count as u64).map(|i| Batch(random(12, 10 + i), random(10, 20 + i))).collect()
}

/// Numbers in [−1, 1) that depend on the seed alone: a device's generator is shared by all tests.
pub fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |_| (f64::from(rng.next_u32()) / 2_f64.powi(31) - 1.0) as f32;
    let data: Vec<f32> = (0..shape.iter().product()).map(&mut draw).collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

/// A layer with bias, initialised from `seed`.
pub fn linear(inputs: usize, outputs: usize, seed: u64, device: &Device) -> Linear {
    let scale = (inputs as f64).sqrt().recip();
    let param = |tensor: Tensor<2>| Param::from_tensor(tensor.mul_scalar(scale));
    Linear {
        weight: param(random([inputs, outputs], seed, device)),
        bias: Some(Param::from_tensor(random([outputs], seed + 100, device).mul_scalar(scale))),
    }
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
    let (model, report) = tuner.step(model, &mut optim(), grads).expect("steps");
    (model, value, report.events)
}

/// Every float parameter by path, adapters included.
pub fn values<M: Module>(model: &M) -> Vec<(String, TensorData)> {
    struct Collect(Vec<(String, TensorData)>);
    impl VisitFloat for Collect {
        fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
            self.0.push((place.path(), to_host(param.base())));
        }
    }
    let mut collect = Collect(vec![]);
    visit_floats(model, &mut collect);
    collect.0
}

/// The largest difference of two elements, NaN if there is one: in the total order it comes last.
pub fn max_difference(a: &TensorData, b: &TensorData) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let differences = a.iter::<f32>().zip(b.iter::<f32>()).map(|(a, b)| (a - b).abs());
    differences.max_by(f32::total_cmp).unwrap_or(0.0)
}

/// Whether two runs came to the same values: to the same bits on CPUs. GPU backends fuse and tune
/// kernels as they go, so that equal computations may round differently.
pub fn same(a: &TensorData, b: &TensorData) -> bool {
    match is_cpu(&device()) {
        true => a.shape() == b.shape() && bits(a) == bits(b),
        false => max_difference(a, b) < tolerance(1e-5).max(1e-4),
    }
}

/// What numbers that agree to `in_f32` may differ by on the device under test: where matrices are
/// multiplied in TF32, three of f32's digits are missing.
pub fn tolerance(in_f32: f32) -> f32 {
    static EXACT: OnceLock<bool> = OnceLock::new();
    match EXACT.get_or_init(|| multiplies_in_f32(&device().inner())) {
        true => in_f32,
        false => 1000.0 * in_f32,
    }
}

pub fn bits(data: &TensorData) -> Vec<u32> {
    data.iter::<f32>().map(f32::to_bits).collect()
}

/// Rows and columns of a block's entries.
pub fn cells<'a>(
    rows: &'a [usize],
    cols: &'a [usize],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    rows.iter().flat_map(move |&row| cols.iter().map(move |&col| (row, col)))
}
