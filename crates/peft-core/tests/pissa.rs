//! PiSSA goes on from a record with the weights of the run that wrote it.

mod common;

use burn::optim::GradientsParams;
use common::{Mlp, batches, bits, device, optim, same, values};
use peft_core::adapter::lora::{Lora, LoraConfig, LoraInit};
use peft_core::{Record, Tuner, TunerConfig};

const STEPS: usize = 9;

fn config(iterations: usize, seed: u64) -> LoraConfig {
    LoraConfig::new(STEPS)
        .with_r(3)
        .with_init_lora_weights(LoraInit::PissaNiter(iterations))
        .with_learning_rate(2e-2)
        .with_seed(seed)
}

fn lora(config: LoraConfig) -> Lora {
    Lora::new(config).expect("valid")
}

fn attach(config: LoraConfig) -> (Tuner<Lora>, Mlp) {
    let base = Mlp::new(&device(), true);
    Tuner::attach(lora(config), TunerConfig::default(), base).expect("attaches")
}

/// Takes steps up to `until` of the run.
fn train((mut tuner, mut model): (Tuner<Lora>, Mlp), until: usize) -> (Tuner<Lora>, Mlp) {
    let (batches, mut optim) = (batches(&device(), 4), optim());
    while tuner.steps() < until {
        let loss = model.loss(&batches[tuner.steps() % batches.len()]);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        (model, _) = tuner.step(model, &mut optim, grads).expect("steps");
    }
    (tuner, model)
}

fn assert_same(got: &Mlp, want: &Mlp, what: &str) {
    for ((path, got), (_, want)) in values(got).iter().zip(&values(want)) {
        assert!(same(got, want), "{path} {what}");
    }
}

#[test]
fn a_resumed_run_takes_the_recorded_factors_out_and_decomposes_nothing() {
    let (_, whole) = train(attach(config(1, 5)), STEPS);
    for (at, other) in [(0, config(1, 6)), (4, config(16, 5)), (STEPS, config(1, 7))] {
        let (tuner, original) = train(attach(config(1, 5)), at);
        let record = tuner.record(&original).expect("records");
        let base = |model: &Mlp| bits(&model.blocks[0].weight.base().into_data());
        assert_ne!(base(&attach(other.clone()).1), base(&original), "{other} rounds otherwise");

        let model = Mlp::new(&device(), true);
        let resumed = Tuner::resume(lora(other), TunerConfig::default(), model, &record);
        let (tuner, model) = resumed.expect("resumes");
        assert_same(&model, &original, "as recorded");
        assert_eq!(tuner.record(&model).expect("records").tensors, record.tensors);
        let (_, finished) = train((tuner, model), STEPS);
        assert_same(&finished, &whole, "at the end");
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_before_it_is_decomposed() {
    let mut base = Mlp::new(&device(), true);
    base.blocks[1].weight = base.blocks[1].weight.clone().map(|weight| weight.full_like(f32::NAN));
    let error = Tuner::attach(lora(config(1, 5)), TunerConfig::default(), base).unwrap_err();
    let message = error.to_string();
    let start = "`init_lora_weights` is PiSSA for `blocks.1.weight`, some values of which";
    assert!(message.starts_with(start), "{message}");
    assert!(error.hint().unwrap().contains("damaged"));
}

#[test]
fn restoring_over_another_decomposition_is_refused() {
    let exact = |seed| config(1, seed).with_init_lora_weights(LoraInit::Pissa);
    let record = |config| {
        let (tuner, model) = train(attach(config), 4);
        tuner.record(&model).expect("records")
    };
    let restored = |config, record: &Record| {
        let (mut tuner, model) = attach(config);
        tuner.restore(model, record).map(|_| ())
    };
    restored(exact(6), &record(exact(5))).expect("an exact decomposition has no seed");
    let refusal = |config, record: &Record| {
        let text = restored(config, record).unwrap_err().to_string();
        let problem = text.strip_prefix("record entry `blocks.0.weight.lora_a.first`: ");
        problem.unwrap_or_else(|| panic!("{text}")).to_string()
    };
    let plain = config(1, 5).with_init_lora_weights(LoraInit::Kaiming);
    let drawn = record(config(1, 5));
    assert!(refusal(config(1, 6), &drawn).starts_with("is not what was taken out of this model's"));
    assert!(refusal(plain.clone(), &drawn).starts_with("was taken out of the weight by PiSSA"));
    assert_eq!(refusal(exact(5), &record(plain)), "is missing");
}
