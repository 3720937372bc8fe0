//! Modules trained densely beside subnets.

mod common;

use burn::nn::Linear;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use common::{
    Batch, Mlp, batches, bits, config, device, max_difference, optim, same, tolerance, values,
};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::gradients::scale;
use peft_core::schedule::DenseSchedule;
use peft_core::{Error, Tuner, TunerConfig};

fn attach(config: LosiaConfig, saved: &[&str], model: Mlp) -> Result<(Tuner<Losia>, Mlp), Error> {
    let tuner_config = TunerConfig {
        modules_to_save: saved.iter().map(|name| name.to_string()).collect(),
        ..TunerConfig::default()
    };
    Tuner::attach(Losia::new(config)?, tuner_config, model)
}

/// Subnets on the blocks; the head is left to `modules_to_save`.
fn blocks_only() -> LosiaConfig {
    config().with_output_head(Some("head.weight".into())).with_weight_decay(0.01)
}

struct Run {
    tuner: Tuner<Losia>,
    model: Mlp,
    optim: ModuleOptimizer,
}

impl Run {
    fn steps(mut self, batches: &[Batch], range: std::ops::Range<usize>) -> Self {
        for index in range {
            let loss = self.model.loss(&batches[index % batches.len()]);
            let grads = GradientsParams::from_grads(loss.backward(), &self.model);
            (self.model, _) = self.tuner.step(self.model, &mut self.optim, grads).unwrap();
        }
        self
    }
}

#[test]
fn only_what_is_named_trains_and_a_record_resumes_bit_for_bit() {
    let device = device();
    let batches = batches(&device, 4);
    let original = Mlp::new(&device, true);
    let start = |model: Mlp| {
        let (tuner, model) = attach(blocks_only(), &["head", "blocks.1.bias"], model).unwrap();
        Run { tuner, model, optim: optim() }
    };
    let whole = start(original.clone()).steps(&batches, 0..14);
    for stop in [1, 6, 11] {
        let half = start(original.clone()).steps(&batches, 0..stop);
        let record = half.tuner.record(&half.model).unwrap();
        let fresh = start(Mlp::new(&device, true)); // equal weights under other identities
        assert_ne!(fresh.model.head.weight.id, half.model.head.weight.id);
        let Run { mut tuner, model, optim } = fresh;
        let model = tuner.restore(model, &record).unwrap();
        let optim = optim.load_record(half.optim.to_record());
        let resumed = Run { tuner, model, optim }.steps(&batches, stop..14);
        for ((path, got), (_, want)) in values(&resumed.model).iter().zip(&values(&whole.model)) {
            assert!(same(got, want), "{path} after a stop at {stop}");
        }
    }
    let Run { tuner, model, .. } = whole;
    let merged = values(&tuner.merge(model).unwrap());
    for ((path, before), (_, after)) in values(&original).iter().zip(&merged) {
        let changed = max_difference(before, after) > 1e-3;
        assert_eq!(changed, path != "blocks.0.bias", "{path}");
    }
}

#[test]
fn the_gradient_of_a_bias_beside_a_subnet_is_that_of_dense_autodiff() {
    let device = device();
    let batch = &batches(&device, 1)[0];
    let of_bias = |model: &Mlp, layer: fn(&Mlp) -> &Linear| {
        let grads = GradientsParams::from_grads(model.loss(batch).backward(), model);
        let bias = layer(model).bias.as_ref().expect("a bias");
        grads.get::<1>(bias.id).expect("a gradient").into_data()
    };
    let layers: [fn(&Mlp) -> &Linear; 2] = [|m| &m.blocks[0], |m| &m.blocks[1]]; // in its slot, or not
    let plain = Mlp::new(&device, false);
    for pro in [true, false] {
        let model = Mlp { hooked: true, ..plain.clone() };
        let biases = ["blocks.0.bias", "blocks.1.bias"];
        let (_, model) = attach(config().with_pro(pro), &biases, model).unwrap();
        for layer in layers {
            let (got, want) = (of_bias(&model, layer), of_bias(&plain, layer));
            assert!(want.iter::<f32>().any(|x| x.abs() > 1e-3), "not all zero");
            assert!(max_difference(&got, &want) < tolerance(1e-6), "pro {pro}");
        }
    }
}

#[test]
fn they_are_counted_and_have_a_learning_rate_of_their_own() {
    let device = device();
    let batches = batches(&device, 4);
    let original = Mlp::new(&device, true);
    let schedule = DenseSchedule::new(10, 0.0, 1.0);
    let config = TunerConfig {
        modules_to_save: vec!["head".into()],
        dense_learning_rate: Some((0.0, schedule)),
        ..TunerConfig::default()
    };
    let losia = Losia::new(blocks_only()).unwrap();
    let (tuner, model) = Tuner::attach(losia, config, original.clone()).unwrap();
    let blocks = 3 * 5 + 5 * 4; // a quarter of 12, 20 and 16
    assert_eq!(tuner.counts().trainable, blocks + 16 * 10 + 10);
    assert_eq!(tuner.counts().total, 12 * 20 + 20 + 20 * 16 + 16 + 16 * 10 + 10);
    let trained = Run { tuner, model, optim: optim() }.steps(&batches, 0..5).model;
    let weight = |model: &Mlp| bits(&model.head.weight.val().into_data());
    assert_eq!(weight(&trained), weight(&original), "its rate is 0");
}

#[test]
fn what_is_not_finite_is_not_merged() {
    let (tuner, mut model) = attach(blocks_only(), &["head"], Mlp::new(&device(), true)).unwrap();
    let bias = model.head.bias.take().expect("a bias");
    model.head.bias = Some(bias.map(|bias| bias.detach().add_scalar(f32::INFINITY)));
    let error = tuner.merge(model).unwrap_err();
    assert_eq!(error, Error::NotFinite { path: "head.bias".into(), step: 0 });
}

#[test]
fn an_adapted_weight_cannot_also_be_trained_densely() {
    let head = || blocks_only().with_output_dim_factor(0.5); // asked for by itself
    for (config, saved, path) in [(head(), "head", "head"), (config(), "ead", "head")] {
        let error = attach(config, &[saved], Mlp::new(&device(), true)).unwrap_err().to_string();
        let found = format!("`modules_to_save` is {path}.weight, ");
        assert_eq!(error, format!("{found}expected modules without an adapter"));
    }
    let error = attach(config(), &["embed"], Mlp::new(&device(), true)).unwrap_err();
    assert!(matches!(error, Error::NoMatch { key: "modules_to_save", .. }), "{error}");
}

#[test]
fn norms_and_rates_out_of_range_are_refused() {
    let attach = |config: TunerConfig| {
        let losia = Losia::new(blocks_only()).unwrap();
        Tuner::attach(losia, config, Mlp::new(&device(), true)).unwrap_err().to_string()
    };
    for (norm, found) in [(-1.0, "-1"), (0.0, "0"), (f64::NAN, "NaN")] {
        let error = attach(TunerConfig { max_grad_norm: Some(norm), ..TunerConfig::default() });
        assert_eq!(
            error,
            format!("`max_grad_norm` is {found}, expected a positive number, or none")
        );
    }
    let rate = Some((f64::INFINITY, DenseSchedule::new(10, 0.0, 1.0)));
    let error = attach(TunerConfig { dense_learning_rate: rate, ..TunerConfig::default() });
    assert!(error.starts_with("`dense_learning_rate` is inf"), "{error}");
}

#[test]
fn two_half_batches_are_one_step_on_the_whole() {
    let device = device();
    let batches = batches(&device, 4);
    let run = |halves: bool| {
        let model = Mlp::new(&device, true);
        let (mut tuner, mut model) = attach(blocks_only(), &["head"], model).unwrap();
        let (mut optim, mut moved) = (optim(), 0);
        for index in 0..10 {
            let batch = &batches[index % 4];
            let grads = match halves {
                true => {
                    let mut sum = accumulated(&model, batch);
                    scale(&model, &mut sum, 0.5);
                    sum
                }
                false => GradientsParams::from_grads(model.loss(batch).backward(), &model),
            };
            let (next, report) = tuner.step(model, &mut optim, grads).unwrap();
            (model, moved) = (next, moved + report.events.len());
        }
        assert_eq!((tuner.steps(), moved), (10, 3), "accumulated batches count once");
        values(&model)
    };
    for ((path, halves), (_, whole)) in run(true).iter().zip(&run(false)) {
        assert!(max_difference(halves, whole) < tolerance(1e-5), "{path}");
    }
}

fn accumulated(model: &Mlp, batch: &Batch) -> GradientsParams {
    let mut accumulator = GradientsAccumulator::new();
    for rows in [0..3, 3..6] {
        let half = Batch(batch.0.clone().slice([rows.clone()]), batch.1.clone().slice([rows]));
        let grads = GradientsParams::from_grads(model.loss(&half).backward(), model);
        accumulator.accumulate(model, grads);
    }
    accumulator.grads()
}
