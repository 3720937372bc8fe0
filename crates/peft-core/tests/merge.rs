//! What settling and merging do to the bits of a weight, and what is never let into it.

mod common;

use burn::module::Param;
use burn::optim::GradientsParams;
use common::{Batch, Mlp, attach, batches, bits, config, device, step, values};
use peft_core::gradients::scale;
use peft_core::{Error, Event, Params};

/// A model whose weights are −0 wherever a random number is negative.
fn negative_zeros() -> Mlp {
    let mut model = Mlp::new(&device(), true);
    for layer in model.blocks.iter_mut().chain([&mut model.head]) {
        let positive = layer.weight.val().inner();
        let weight = positive.clone().mask_fill(positive.lower_elem(0.0), -0.0);
        layer.weight = Param::from_tensor(weight.autodiff());
    }
    model
}

#[test]
fn merging_an_untrained_adapter_keeps_every_bit() {
    let original = negative_zeros();
    let minus_zeros = bits(&original.head.weight.val().into_data());
    assert!(minus_zeros.contains(&(-0.0_f32).to_bits()));
    for pro in [true, false] {
        let (tuner, model) = attach(config().with_pro(pro), original.clone());
        let effective = bits(&model.head.weight.val().into_data());
        assert_eq!(effective, minus_zeros, "composed with an untrained block");
        let merged = tuner.merge(model).unwrap();
        for ((path, before), (_, after)) in values(&original).iter().zip(&values(&merged)) {
            assert_eq!(bits(before), bits(after), "{path}");
        }
    }
}

#[test]
fn entries_outside_every_block_keep_their_bits() {
    let batches = batches(&device(), 4);
    let original = negative_zeros();
    let (mut tuner, mut model) = attach(config().with_weight_decay(0.1), original.clone());
    for index in 0..20 {
        (model, ..) = step(&mut tuner, model, &batches[index % 4]);
    }
    let blocks = tuner.method().blocks(tuner.steps(), &Params::of(&model)).unwrap();
    let merged = values(&tuner.merge(model).unwrap());
    let mut trained = 0;
    for ((path, before), (_, after)) in values(&original).iter().zip(&merged) {
        let columns = *before.shape().last().unwrap();
        let mut inside = vec![false; before.num_elements()];
        for block in blocks.iter().filter(|block| block.path == *path) {
            for (row, col) in common::cells(block.subnet.rows(), block.subnet.cols()) {
                inside[row * columns + col] = true;
            }
        }
        for ((was, is), inside) in bits(before).into_iter().zip(bits(after)).zip(inside) {
            assert!(inside || was == is, "{path}: an entry outside every block changed");
            trained += usize::from(was != is);
        }
    }
    assert!(trained > 40, "training changed only {trained} entries");
}

#[test]
fn a_merged_model_cannot_be_merged_again() {
    let (tuner, model) = attach(config(), Mlp::new(&device(), true));
    let merged = tuner.merge(model).unwrap();
    assert!(merged.head.weight.reparameterization::<peft_core::adapter::Adapter>().is_none());
    let error = tuner.merge(merged).unwrap_err();
    assert_eq!(error, Error::ParameterGone { path: "blocks.0.weight".into() });
}

#[test]
fn what_is_not_finite_never_reaches_a_weight() {
    let (mut tuner, model) = attach(config(), Mlp::new(&device(), true));
    let batch = &batches(&device(), 1)[0];
    let broken = Batch(batch.0.clone() * f32::NAN, batch.1.clone());
    let (model, ..) = step(&mut tuner, model, &broken);
    let (model, ..) = step(&mut tuner, model, &broken);
    let error = tuner.merge(model.clone()).unwrap_err();
    assert_eq!(error, Error::NotFinite { path: "blocks.0.weight".into(), step: 1 });
    assert!(error.hint().unwrap().contains("learning rate"));
    let grads = GradientsParams::from_grads(model.loss(&broken).backward(), &model);
    let error = tuner.step(model, &mut common::optim(), grads).unwrap_err();
    assert_eq!(error, Error::NotFinite { path: "blocks.0.weight".into(), step: 2 });
    assert_eq!(tuner.steps(), 2, "the step is not counted");
}

#[test]
fn an_importance_that_overflows_keeps_the_subnet_and_is_reported() {
    let (mut tuner, mut model) = attach(config(), Mlp::new(&device(), true));
    let before = tuner.method().targets()[0].subnet().clone();
    let batch = &batches(&device(), 1)[0];
    let mut events = vec![];
    for _ in 0..3 {
        // |x − ½x²| overflows long before the gradient and Adam's update do.
        let mut grads = GradientsParams::from_grads(model.loss(batch).backward(), &model);
        scale(&model, &mut grads, 1e30);
        let (next, report) = tuner.step(model, &mut common::optim(), grads).unwrap();
        model = next;
        events.extend(report.events);
    }
    let [Event::Relocalization(event)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.strategy, &event.subnet), (None, &before));
    assert!(event.score_share.is_nan());
    assert_eq!(tuner.method().targets()[0].subnet(), &before);
    assert!(values(&model).iter().all(|(_, data)| data.iter::<f32>().all(f32::is_finite)));
}
