//! A block on a tied embedding gets both halves of its gradient.

mod common;

use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, activation};
use common::{config, device, max_difference, tolerance};
use peft_core::adapter::Adapter;
use peft_core::adapter::losia::Losia;
use peft_core::subnet::gather;
use peft_core::{TargetModules, Tuner, TunerConfig, hook};

/// Look-up, one layer, and the same embedding as output head.
#[derive(Module, Debug)]
struct Tied {
    embed: Embedding,
    layer: Linear,
}

impl Tied {
    fn new(device: &Device) -> Self {
        let weight = Param::from_tensor(common::random([24, 8], 3, device));
        Self { embed: Embedding { weight }, layer: common::linear(8, 8, 4, device) }
    }

    fn loss(&self, ids: Tensor<2, Int>) -> Tensor<1> {
        let hidden = hook::linear(&self.layer, hook::embedding(&self.embed, ids.clone()));
        let logits = hook::tied_head(&self.embed, activation::silu(hidden));
        let log_probs = activation::log_softmax(logits, 2);
        log_probs.gather(2, ids.unsqueeze_dim(2)).mean().neg()
    }
}

#[test]
fn block_gradient_equals_dense_autodiff_through_look_up_and_head() {
    let device = device();
    // Ids repeat, some lie in the block and some do not.
    let ids = Tensor::<2, Int>::from_data([[0, 1, 2, 3, 3], [20, 21, 22, 23, 7]], &device);
    let model = Tied::new(&device);
    let dense = GradientsParams::from_grads(model.loss(ids.clone()).backward(), &model);
    let dense = dense.get::<2>(model.embed.weight.id).expect("dense gradient");
    for pro in [true, false] {
        let config = config()
            .with_pro(pro)
            .with_output_head(Some("embed.weight".into()))
            .with_output_dim_factor(0.5)
            .with_target_modules(TargetModules::Names(vec!["layer".into()]));
        let losia = Losia::new(config).unwrap();
        let (tuner, model) = Tuner::attach(losia, TunerConfig::default(), model.clone()).unwrap();
        assert_eq!(tuner.method().targets()[0].subnet().size(), [12, 8]);
        let grads = GradientsParams::from_grads(model.loss(ids.clone()).backward(), &model);
        let Some(Adapter::Subnet(block)) = model.embed.weight.reparameterization() else {
            panic!("no adapter")
        };
        let got = grads.get::<2>(block.delta.id).expect("block gradient").into_data();
        let (rows, cols) = (block.rows.val().inner(), block.cols.val().inner());
        let want = gather(dense.clone(), rows, cols).into_data();
        assert!(want.iter::<f32>().any(|grad| grad.abs() > 1e-3), "there is something to compare");
        assert!(max_difference(&got, &want) < tolerance(1e-6), "pro {pro}");
        let base = grads.get::<2>(model.embed.weight.id).expect("its slot is the first");
        assert!(max_difference(&base.into_data(), &dense.clone().into_data()) < tolerance(1e-6));
    }
}

#[test]
fn a_moved_block_changes_look_up_and_head_alike() {
    let device = device();
    let ids = Tensor::<2, Int>::from_data([[0, 5, 9, 13, 17], [1, 3, 21, 22, 23]], &device);
    let config = config()
        .with_output_head(Some("embed.weight".into()))
        .with_output_dim_factor(0.5)
        .with_learning_rate(0.05);
    let losia = Losia::new(config).unwrap();
    let (mut tuner, mut model) =
        Tuner::attach(losia, TunerConfig::default(), Tied::new(&device)).unwrap();
    let mut optim = common::optim();
    for _ in 0..5 {
        let grads = GradientsParams::from_grads(model.loss(ids.clone()).backward(), &model);
        (model, _) = tuner.step(model, &mut optim, grads).unwrap();
    }
    let hooked = model.loss(ids.clone()).into_data();
    let merged = tuner.merge(model).unwrap().loss(ids.clone()).into_data();
    let plain = Tied::new(&device).loss(ids).into_data();
    assert!(max_difference(&hooked, &merged) < tolerance(1e-6));
    assert!(max_difference(&plain, &merged) > 1e-2, "nothing was trained");
}
