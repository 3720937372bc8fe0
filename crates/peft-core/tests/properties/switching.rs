//! Several adapters on one base.

use burn::tensor::Tensor;
use peft_core::store::{AdapterFile, AdapterFiles};
use peft_core::{Adapters, Error};

use crate::common::{Mlp, bits, device, max_difference, tolerance, values};
use crate::inspect::output;
use crate::methods::{all, named};
use crate::{Run, STEPS};

/// A trained adapter of a candidate.
fn trained(name: &str, steps: usize) -> (Run, AdapterFiles) {
    let mut run = Run::new(&named(name), &device());
    run.train(steps);
    match run.tuner.export(&run.model).unwrap() {
        Some(AdapterFile::Peft(files)) => (run, *files),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_base_kept_beside_is_the_method_disabled() {
    let device = device();
    for candidate in all() {
        let base = Mlp::new(&device, true);
        let before = values(&base);
        let mut run = Run::on(&candidate, base.clone(), &device); // shares the base's memory
        let plain = output(&base, &run.batches[0]);
        run.train(STEPS);
        let merged = run.tuner.merge(run.model.clone()).expect("merges");
        assert!(max_difference(&output(&merged, &run.batches[0]), &plain) > 1e-3);
        assert_eq!(bits(&output(&base, &run.batches[0])), bits(&plain), "{}", candidate.name);
        for ((path, want), (_, got)) in before.iter().zip(&values(&base)) {
            assert_eq!(bits(want), bits(got), "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn adapters_share_a_base_and_leave_it_alone() {
    let plain = Mlp::new(&device().inner(), true);
    let mut adapters = Adapters::new(plain.clone());
    let names = ["lora", "dora", "pissa", "adalora"];
    let runs = names.map(|name| {
        let (run, files) = trained(name, STEPS);
        adapters.load(name, files).unwrap();
        run
    });
    assert_eq!(adapters.names().count(), 4);
    let batch = &runs[0].batches[0];
    for (name, run) in names.into_iter().zip(&runs) {
        for model in [adapters.get(name).unwrap(), &adapters.merged(name).unwrap()] {
            let difference = max_difference(&output(model, batch), &run.output());
            assert!(difference < tolerance(1e-5), "{name}: {difference}");
        }
    }
    let mut losia = Run::new(&named("losia"), &device());
    losia.train(STEPS);
    adapters.load("losia", losia.tuner.export(&losia.model).unwrap().unwrap()).unwrap();
    let difference =
        max_difference(&output(adapters.get("losia").unwrap(), batch), &losia.output());
    assert!(difference < tolerance(1e-5), "losia: {difference}");
    for ((path, want), (_, got)) in values(&plain).iter().zip(&values(adapters.base())) {
        assert_eq!(bits(want), bits(got), "{path}");
    }
    let error = adapters.combine("sum", &[("lora", 1.0), ("losia", 1.0)]).unwrap_err();
    assert!(error.to_string().starts_with("`adapters` is `losia` of LoSiA, "), "{error}");
    let error = adapters.get("qlora").unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }));
    assert_eq!(error.hint().unwrap(), "there are: adalora, dora, lora, losia, pissa");
}

#[test]
fn a_combination_is_the_weighted_sum_of_what_adapters_change() {
    let base = Mlp::new(&device().inner(), true);
    let mut adapters = Adapters::new(base);
    adapters.load("a", trained("lora", 6).1).unwrap();
    adapters.load("b", trained("rslora+", STEPS).1).unwrap();
    adapters.combine("sum", &[("a", 0.75), ("b", -0.5)]).unwrap();
    let weight = |model: &Mlp| model.blocks[1].weight.val();
    let merged = |name: &str| weight(&adapters.merged(name).unwrap());
    let base = weight(adapters.base());
    let change = |name: &str| -> Tensor<2> { merged(name).sub(base.clone()) };
    let want = change("a").mul_scalar(0.75).sub(change("b").mul_scalar(0.5));
    assert!(want.clone().abs().max().into_scalar::<f32>() > 1e-2, "they change something");
    let difference = max_difference(&change("sum").into_data(), &want.into_data());
    assert!(difference < tolerance(1e-5), "{difference}");
    for (unfit, weight) in [("dora", 1.0), ("adalora", 1.0), ("lora", f64::NAN)] {
        adapters.load(unfit, trained(unfit, STEPS).1).unwrap();
        let error = adapters.combine("sum", &[("a", 1.0), (unfit, weight)]).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{unfit}: {error}");
    }
}
