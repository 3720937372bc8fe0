//! A convolutional classifier of plain Burn modules, adapted without a change to its code.

mod common;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, activation};
use common::{bits, config, device, optim, same, values};
use peft_core::adapter::losia::Losia;
use peft_core::{Event, Tuner, TunerConfig};

#[derive(Module, Debug)]
struct ConvNet {
    conv: Conv2d,
    norm: BatchNorm,
    pool: MaxPool2d,
    linear1: Linear,
    linear2: Linear,
}

impl ConvNet {
    fn new(device: &Device) -> Self {
        let conv = Conv2dConfig::new([1, 4], [3, 3]).with_bias(false).init(device);
        let weight = Param::from_tensor(common::random([4, 1, 3, 3], 3, device));
        Self {
            conv: Conv2d { weight, ..conv },
            norm: BatchNormConfig::new(4).init(device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            linear1: common::linear(4 * 3 * 3, 24, 1, device),
            linear2: common::linear(24, 4, 2, device),
        }
    }

    /// `[batch, 1, 8, 8]` to `[batch, 4]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = activation::relu(self.norm.forward(self.conv.forward(images)));
        let x = self.pool.forward(x).flatten::<2>(1, 3);
        self.linear2.forward(activation::relu(self.linear1.forward(x)))
    }

    fn loss(&self, images: Tensor<4>, labels: Tensor<1, Int>) -> Tensor<1> {
        let logits = self.forward(images);
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    }
}

/// Noise with one bright quadrant, which is the class.
fn images(device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let labels: Vec<i64> = (0..16).map(|i| i % 4).collect();
    let mut images = common::random([16, 1, 8, 8], 5, device);
    for (image, &label) in labels.iter().enumerate() {
        let (top, left) = (label as usize / 2 * 4, label as usize % 2 * 4);
        let quadrant = [image..image + 1, 0..1, top..top + 4, left..left + 4];
        let bright = images.clone().slice(quadrant.clone()).add_scalar(0.7);
        images = images.slice_assign(quadrant, bright);
    }
    (images, Tensor::from_data(labels.as_slice(), device))
}

#[test]
fn a_convolutional_classifier_learns_through_subnets_of_its_linear_layers() {
    let device = device();
    let (images, labels) = images(&device);
    let original = ConvNet::new(&device);
    let losia = Losia::new(config().with_learning_rate(6e-2)).unwrap();
    let (mut tuner, mut model) =
        Tuner::attach(losia, TunerConfig::default(), original.clone()).unwrap();
    let paths: Vec<_> = tuner.method().targets().iter().map(|target| target.path()).collect();
    assert_eq!(paths, ["linear1.weight", "linear2.weight"]);
    let (mut losses, mut moves) = (vec![], 0);
    for _ in 0..40 {
        let loss = model.loss(images.clone(), labels.clone());
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (next, report) = tuner.step(model, &mut optim(), grads).unwrap();
        (model, moves) = (next, moves + report.events.len());
        let mut moved = report.events.into_iter().filter_map(Event::into_relocalization);
        assert!(moved.all(|event| event.strategy.is_some()));
    }
    assert_eq!(moves, 40 / 3);
    assert!(losses[39] < 0.5 * losses[0], "{losses:?}");

    let merged = values(&tuner.merge(model).unwrap());
    for ((path, before), (_, after)) in values(&original).iter().zip(&merged) {
        let same = bits(before) == bits(after);
        let trained = path.starts_with("linear") && path.ends_with("weight");
        assert!(same != trained, "{path}: unchanged is {same}"); // clones share running statistics
    }
}

#[test]
fn recomputing_activations_gives_the_same_training() {
    let run = |device: Device| {
        let batches = common::batches(&device, 4);
        let (mut tuner, mut model) = common::attach(config(), common::Mlp::new(&device, true));
        for index in 0..10 {
            (model, ..) = common::step(&mut tuner, model, &batches[index % 4]);
        }
        values(&tuner.merge(model).unwrap())
    };
    let (kept, recomputed) = (run(device()), run(device().gradient_checkpointing()));
    for ((path, kept), (_, recomputed)) in kept.iter().zip(&recomputed) {
        assert!(same(kept, recomputed), "{path}");
    }
}
