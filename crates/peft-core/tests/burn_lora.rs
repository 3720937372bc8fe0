//! A model prepared with Burn's own `apply_lora` gets the fast path too.

mod common;

use burn::module::{Lora, Module};
use burn::optim::GradientsParams;
use common::{Mlp, batches, device, max_difference, optim, tolerance};

#[test]
fn burns_adapters_are_computed_on_activations_with_the_same_numbers() {
    let device = device();
    let batch = &batches(&device, 1)[0];
    let mut model = Mlp::new(&device, false).apply_lora(Lora::new(3, 6.0));
    for _ in 0..3 {
        // A fresh adapter has a factor of zeros.
        let grads = GradientsParams::from_grads(model.loss(batch).backward(), &model);
        model = optim().step(5e-2, model, grads);
    }
    let hooked = Mlp { hooked: true, ..model.clone() };
    let outputs = [&model, &hooked].map(|m| m.forward(batch.0.clone()).into_data());
    assert!(max_difference(&outputs[0], &outputs[1]) < tolerance(1e-5));
    let grads = |model: &Mlp| GradientsParams::from_grads(model.loss(batch).backward(), model);
    let (dense, activations) = (grads(&model), grads(&hooked));
    let lora = model.blocks[1].weight.adapter().expect("attached");
    for factor in [&lora.a, &lora.b] {
        let want = dense.get::<2>(factor.id).expect("a gradient").into_data();
        let got = activations.get::<2>(factor.id).expect("a gradient").into_data();
        assert!(want.iter::<f32>().any(|x| x.abs() > 1e-3), "not all zero");
        assert!(max_difference(&got, &want) < tolerance(1e-6));
    }
}
