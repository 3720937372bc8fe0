//! A vision model of plain Burn modules, fine-tuned with LoSiA and AdaLoRA without a change to its
//! code. It learns where in an image a bright stripe runs; then the images are inverted, and only
//! adapters learn what changed.

mod common;

use std::error::Error;
use std::process::ExitCode;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor, activation::relu};
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::schedule::DenseSchedule;
use burn_peft::core::{Method, Tuner, TunerConfig, device_by_name};

const SIZE: usize = 12;
const STEPS: usize = 150;

#[derive(Module, Debug)]
struct Vision {
    conv: Conv2d,
    hidden: Linear,
    head: Linear,
}

impl Vision {
    fn new(device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new([1, 6], [3, 3]).init(device),
            hidden: LinearConfig::new(6 * (SIZE - 2) * (SIZE - 2), 64).init(device),
            head: LinearConfig::new(64, SIZE).init(device),
        }
    }

    /// `[batch, 1, SIZE, SIZE]` to `[batch, SIZE]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.conv.forward(images)).flatten::<2>(1, 3);
        self.head.forward(relu(self.hidden.forward(x)))
    }
}

/// Noise with a bright column, whose number is the class; inverted, a dark one.
fn batch(inverted: bool, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let noise = Distribution::Normal(0.0, 0.3);
    let labels = Tensor::<1, Int>::random([64], Distribution::Uniform(0.0, SIZE as f64), device);
    let columns = labels.clone().one_hot::<2>(SIZE).float().reshape([64, 1, 1, SIZE]);
    let images = Tensor::random([64, 1, SIZE, SIZE], noise, device) + columns;
    (if inverted { images.neg() } else { images }, labels)
}

fn accuracy(model: &Vision, device: &Device) -> f32 {
    let (images, labels) = batch(true, device);
    let right = model.forward(images).argmax(1).squeeze_dim::<1>(1).equal(labels);
    100.0 * right.float().mean().into_scalar::<f32>()
}

/// Trains `model` with `method`, merges what was trained into it, and says how good it is.
fn train(model: Vision, method: Box<dyn Method>, inverted: bool) -> Result<Vision, Box<dyn Error>> {
    let device = &model.head.weight.device();
    let (mut tuner, mut model) = Tuner::attach(method, TunerConfig::default(), model)?;
    let mut optim = AdamConfig::new().init();
    for _ in 0..STEPS {
        let (images, labels) = batch(inverted, device);
        let logits = model.forward(images);
        let loss = CrossEntropyLossConfig::new().init(device).forward(logits, labels);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        (model, _) = tuner.step(model, &mut optim, grads)?;
    }
    let (method, adapted) = (tuner.method().name(), tuner.adapted().len());
    let model = tuner.merge(model)?;
    let right = accuracy(&model, device);
    println!("{method:>9}: {adapted} weights adapted, {right:.0} % of inverted images right");
    Ok(model)
}

fn main() -> ExitCode {
    run().map_or_else(common::failed, |()| ExitCode::SUCCESS)
}

fn run() -> Result<(), Box<dyn Error>> {
    let device = device_by_name("auto")?.autodiff();
    device.seed(7);
    let schedule = DenseSchedule::new(STEPS, 0.1, 0.1);
    let full = Full { learning_rate: 3e-3, schedule, target_modules: None };
    let base = train(Vision::new(&device), Box::new(full), false)?;

    let losia = LosiaConfig::new(STEPS).with_period(15).with_rank_factor(0.25);
    let losia = Losia::new(losia.with_learning_rate(1e-2))?;
    train(base.clone(), Box::new(losia), true)?;
    let adalora = AdaLoraConfig::new(STEPS).with_tfinal(40).with_delta_t(5);
    let adalora = AdaLora::new(adalora.with_lora_alpha(24.0).with_learning_rate(1e-2))?;
    train(base, Box::new(adalora), true).map(drop)
}
