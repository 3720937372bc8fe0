//! What a layer keeps for the backward pass, in bytes as the allocator counts them.

mod common;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use peak_alloc::PeakAlloc;
use peft_core::adapter::losia::Losia;
use peft_core::{Tuner, TunerConfig, device_by_name, hook};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const ROWS: usize = 512;
const WIDTH: usize = 1024;

#[derive(Module, Debug)]
struct Two {
    layers: Vec<Linear>,
}

/// Bytes alive after `layer(x)` beyond its output, once the caller has dropped `x`.
fn kept(layer: &Linear, device: &Device) -> usize {
    let before = ALLOCATOR.current_usage();
    let x = Tensor::<2>::random([ROWS, WIDTH], Distribution::Normal(0.0, 1.0), device);
    let y = hook::linear(layer, x.require_grad());
    let output = y.shape().num_elements() * 4;
    let kept = ALLOCATOR.current_usage().saturating_sub(before).saturating_sub(output);
    drop(y);
    kept
}

#[test]
fn outside_its_slot_a_layer_keeps_only_the_chosen_inputs() {
    let device = device_by_name("flex").expect("flex is compiled in for tests").autodiff();
    let layers = (0..2).map(|_| LinearConfig::new(WIDTH, WIDTH).with_bias(false).init(&device));
    let losia = Losia::new(common::config().with_rank_factor(0.125)).unwrap();
    let model = Two { layers: layers.collect() };
    let (_, model) = Tuner::attach(losia, TunerConfig::default(), model).unwrap();
    for layer in &model.layers {
        kept(layer, &device); // first use allocates thread-local scratch space
    }
    let input = ROWS * WIDTH * 4;
    let [localized, other] = [0, 1].map(|layer| kept(&model.layers[layer], &device));
    // x itself is a leaf that requires a gradient, so its graph node keeps it once.
    assert!(other <= input / 8 + input / 64, "kept {other} of an input of {input} bytes");
    let whole = input..=input + input / 64;
    assert!(whole.contains(&localized), "in its slot it keeps the input alone, not {localized}");
}
