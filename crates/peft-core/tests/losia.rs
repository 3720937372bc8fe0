//! LoSiA on a plain Burn module: what moves, what does not, and what a record brings back.

mod common;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};
use common::{
    Mlp, attach, batches, bits, config, device, max_difference, same, step, tolerance, values,
};
use peft_core::adapter::Adapter;
use peft_core::adapter::losia::Losia;
use peft_core::store::{AdapterFile, SettledBlocks};
use peft_core::subnet::gather;
use peft_core::{Catalogue, Error, Event, Outline, Params, Tuner, TunerConfig};

const STEPS: usize = 60;

#[test]
fn a_fresh_adapter_is_the_identity() {
    let device = device();
    let plain = Mlp::new(&device, false);
    let batch = &batches(&device, 1)[0];
    let want = plain.forward(batch.0.clone()).into_data();
    for hooked in [false, true] {
        let (_, model) = attach(config(), Mlp { hooked, ..plain.clone() });
        assert!(same(&model.forward(batch.0.clone()).into_data(), &want));
    }
}

#[test]
fn a_method_that_was_outlined_can_still_be_attached() {
    let [model, other] = [0, 1].map(|_| Mlp::new(&device(), true));
    for outlined in [&model, &other] {
        let (mut losia, tuner) = (Losia::new(config()).unwrap(), TunerConfig::default());
        let catalogue = Catalogue::of(outlined).unwrap();
        let outline = Outline::new(&mut losia, &tuner, &catalogue).unwrap();
        let (mut tuner, model) = Tuner::attach(losia, tuner, model.clone()).unwrap();
        assert_eq!(tuner.method().targets().len(), outline.adapted.len());
        step(&mut tuner, model, &batches(&device(), 1)[0]);
    }
}

#[test]
fn activation_path_equals_composed_path_over_60_steps() {
    let device = device();
    let batches = batches(&device, 4);
    let run = |pro: bool| {
        let (mut tuner, mut model) = attach(config().with_pro(pro), Mlp::new(&device, true));
        let (mut losses, mut subnets) = (vec![], vec![]);
        for index in 0..STEPS {
            let (next, loss, events) = step(&mut tuner, model, &batches[index % 4]);
            model = next;
            losses.push(loss);
            subnets.extend(
                events.into_iter().filter_map(Event::into_relocalization).map(|r| r.subnet),
            );
        }
        (losses, subnets, values(&tuner.merge(model).expect("merges")))
    };
    let (pro, dense) = (run(true), run(false));
    assert_eq!(pro.1.len(), STEPS / 3);
    assert_eq!(pro.1, dense.1, "selections");
    assert!(pro.0[0] > 1.05 * pro.0[STEPS - 4], "it must learn: {:?}", pro.0);
    for (a, b) in pro.0.iter().zip(&dense.0) {
        assert!((a - b).abs() < tolerance(2e-6), "loss {a} against {b}");
    }
    for ((path, a), (_, b)) in pro.2.iter().zip(&dense.2) {
        assert!(max_difference(a, b) < tolerance(5e-6), "{path}: {}", max_difference(a, b));
    }
}

#[test]
fn block_gradients_equal_dense_autodiff() {
    for pro in [true, false] {
        block_gradients(&device(), pro);
    }
}

fn block_gradients(device: &Device, pro: bool) {
    let batch = &batches(device, 1)[0];
    let plain = Mlp::new(device, false);
    let dense = GradientsParams::from_grads(plain.loss(batch).backward(), &plain);
    let (tuner, model) = attach(config().with_pro(pro), Mlp { hooked: true, ..plain.clone() });
    let grads = GradientsParams::from_grads(model.loss(batch).backward(), &model);
    for (layer, reference) in [(&model.blocks[0], &plain.blocks[0]), (&model.head, &plain.head)] {
        let Some(Adapter::Subnet(block)) = layer.weight.reparameterization() else {
            panic!("no adapter")
        };
        let want = dense.get::<2>(reference.weight.id).expect("dense gradient");
        let index = |p: &Param<Tensor<1, Int>>| p.val().inner();
        let want = gather(want, index(&block.rows), index(&block.cols)).into_data();
        let got = grads.get::<2>(block.delta.id).expect("block gradient").into_data();
        assert!(max_difference(&got, &want) < tolerance(1e-6));
        assert!(want.iter::<f32>().any(|x| x.abs() > 1e-3), "not all zero");
    }
    let localized: Vec<_> =
        tuner.method().targets().iter().filter(|t| t.slot() == 0).map(|t| t.path()).collect();
    assert_eq!(localized, ["blocks.0.weight"]);
    assert!(grads.get::<2>(model.blocks[0].weight.id).is_some(), "its own slot: dense gradient");
    assert!(grads.get::<2>(model.blocks[1].weight.id).is_none(), "outside: none");
    assert!(grads.get::<1>(model.head.bias.as_ref().unwrap().id).is_none(), "biases are frozen");
}

#[test]
fn a_weight_computed_by_tensor_operations_can_be_adapted() {
    let device = device();
    let batch = &batches(&device, 1)[0];
    let mut model = Mlp::new(&device, true);
    let first = &mut model.blocks[0];
    first.weight = first.weight.clone().map(|weight| weight.mul_scalar(0.5)); // no leaf
    let (mut tuner, model) = attach(config(), model);
    let (model, before, _) = step(&mut tuner, model, batch);
    let (model, ..) = step(&mut tuner, model, batch);
    let (_, after, events) = step(&mut tuner, model, batch);
    assert!(after < before, "{after} after {before}");
    assert_eq!(events.len(), 1, "its dense gradient was seen");
}

#[test]
fn settled_blocks_rebuild_the_trained_weights_bit_for_bit() {
    let device = device();
    let batches = batches(&device, 4);
    let original = Mlp::new(&device, true);
    let (mut tuner, mut model) = attach(config(), original.clone());
    for index in 0..20 {
        (model, ..) = step(&mut tuner, model, &batches[index % 4]);
    }
    let blocks = tuner.method().blocks(tuner.steps(), &Params::of(&model)).unwrap();
    let trained = values(&tuner.merge(model).expect("merges"));
    for ((path, before), (_, after)) in values(&original).iter().zip(&trained) {
        if before.rank() != 2 {
            assert_eq!(bits(before), bits(after), "{path} is frozen");
            continue;
        }
        let blocks = blocks.iter().filter(|block| &block.path == path);
        let weight = Tensor::<2>::from_data(before.clone(), &device.clone().inner());
        let rebuilt = blocks.fold(weight, |weight, block| block.apply(weight).unwrap());
        assert_eq!(bits(&rebuilt.into_data()), bits(after), "{path}");
        assert_ne!(bits(before), bits(after), "{path} is trained");
    }
}

#[test]
fn a_merged_model_is_unmerged_from_its_journal_and_not_without_one() {
    let original = Mlp::new(&device(), true);
    let run = |journal| {
        let (mut tuner, mut model) = attach(config().with_journal(journal), original.clone());
        for batch in &batches(&device(), 20) {
            (model, ..) = step(&mut tuner, model, batch);
        }
        let Some(AdapterFile::Losia(blocks)) = tuner.export(&model).unwrap() else { panic!() };
        (blocks, tuner.merge(model).unwrap())
    };
    let (blocks, merged) = run(true);
    let dir = tempfile::tempdir().unwrap();
    blocks.write(dir.path()).unwrap();
    assert_ne!(bits(&values(&merged)[0].1), bits(&values(&original)[0].1), "trained");
    let unmerged = blocks.undo(merged.clone()).unwrap();
    for ((path, want), (_, got)) in values(&original).iter().zip(&values(&unmerged)) {
        assert_eq!(bits(got), bits(want), "{path}");
    }
    let read = SettledBlocks::read(dir.path()).unwrap();
    for (blocks, merged) in [(read, merged), run(false)] {
        let error = blocks.undo(merged).unwrap_err().to_string();
        let start = "the original weight `head.weight` cannot be restored: ";
        assert!(error.starts_with(start) && error.ends_with("without a journal"), "{error}");
    }
}

#[test]
fn a_record_resumes_bit_for_bit_anywhere_in_a_slot() {
    let device = device();
    let batches = batches(&device, 4);
    let original = Mlp::new(&device, true);
    let config = || config().with_weight_decay(0.01);
    let run = |mut tuner, mut model, from: usize| {
        for index in from..14 {
            (model, ..) = step(&mut tuner, model, &batches[index % 4]);
        }
        values(&model)
    };
    let (tuner, model) = attach(config(), original.clone());
    let want = run(tuner, model, 0);
    for stop in [1, 3, 4, 9, 11] {
        let (mut tuner, mut model) = attach(config(), original.clone());
        for index in 0..stop {
            (model, ..) = step(&mut tuner, model, &batches[index % 4]);
        }
        let record = tuner.record(&model).expect("records");
        let (mut tuner, fresh) = attach(config().with_seed(99), original.clone());
        let fresh = tuner.restore(fresh, &record).expect("restores");
        for ((path, got), (_, want)) in run(tuner, fresh, stop).iter().zip(&want) {
            assert!(same(got, want), "{path} after a stop at {stop}");
        }
    }
}

#[test]
fn what_cannot_be_attached_is_refused() {
    let device = device();
    let (tuner, model) = attach(config(), Mlp::new(&device, true));
    let again = Tuner::attach(Losia::new(config()).unwrap(), Default::default(), model);
    assert!(matches!(again, Err(Error::AlreadyAttached { path }) if path == "blocks.0.weight"));
    assert!(matches!(
        tuner.record(&Mlp::new(&device, true)),
        Err(Error::ParameterGone { path }) if path == "blocks.0.weight"
    ));
}
