//! Records and settings that do not fit are refused by name.

mod common;

use burn::optim::GradientsParams;
use burn::tensor::TensorData;
use common::{Mlp, attach, batches, bits, config, device, step, values};
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig, RankImportance};
use peft_core::adapter::lora::{Lora, LoraConfig};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::store::AdapterFile;
use peft_core::subnet::Subnet;
use peft_core::{Error, Record, TargetModules, Tuner, TunerConfig};
use serde_json::json;

/// A record in the middle of `blocks.1`'s slot, with one settled block.
fn written() -> Record {
    let device = device();
    let batches = batches(&device, 4);
    let (mut tuner, mut model) = attach(config(), Mlp::new(&device, true));
    for batch in &batches {
        (model, ..) = step(&mut tuner, model, batch);
    }
    assert_eq!(tuner.method().settled().len(), 1);
    tuner.record(&model).unwrap()
}

fn restored(config: LosiaConfig, record: &Record) -> Result<(), Error> {
    let (mut tuner, model) = attach(config, Mlp::new(&device(), true));
    tuner.restore(model, record).map(|_| ())
}

#[test]
fn a_damaged_record_is_refused_by_the_entry_that_is_wrong() {
    type Damage = fn(&mut Record);
    let cases: [(&str, Damage); 9] = [
        ("`meta`: missing field `subnets`", |r| drop(r.meta.remove("subnets"))),
        ("`meta`: missing field `steps`", |r| drop(r.meta.remove("steps"))),
        ("`meta.subnets`: 0 weights, expected 3", |r| r.meta["subnets"] = json!([])),
        ("`blocks.0.weight.delta`: is missing", |r| {
            r.tensors.remove("blocks.0.weight.delta");
        }),
        ("`head.weight.exp_avg`: has shape", |r| {
            r.tensors.insert("head.weight.exp_avg".into(), TensorData::from([1.0_f32]));
        }),
        ("`blocks.0.weight`: a subnet of [1, 5], expected [3, 5]", |r| {
            r.meta["subnets"][0][1]["rows"] = json!([0]);
        }),
        ("`blocks.0.weight`: subnet rows reach 12, but", |r| {
            r.meta["subnets"][0][1]["rows"] = json!([0, 1, 12]);
        }),
        ("`settled.000000`: subnet columns are not strictly increasing", |r| {
            r.meta["settled"][0]["subnet"]["cols"] = json!([4, 3, 2, 1, 0]);
        }),
        ("`settled.000000`: `lost.weight` has no subnet", |r| {
            r.meta["settled"][0]["path"] = json!("lost.weight");
        }),
    ];
    restored(config(), &written()).expect("undamaged, it fits");
    for (message, damage) in cases {
        let mut record = written();
        damage(&mut record);
        let error = restored(config(), &record).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("record entry {message}")), "{message}: {text}");
        assert!(error.hint().unwrap().starts_with("restore with the configuration"));
    }
}

#[test]
fn a_record_of_another_configuration_is_refused() {
    let other = config().with_rank_factor(0.5);
    assert!(matches!(restored(other, &written()), Err(Error::Record { .. })));
    let fewer = config().with_target_modules(TargetModules::Names(vec!["head".into()]));
    let error = restored(fewer, &written()).unwrap_err().to_string();
    assert_eq!(error, "record entry `meta.subnets`: 3 weights, expected 1");
}

#[test]
fn settings_that_fit_no_weight_are_refused_at_attachment() {
    let attach = |losia: Losia| {
        Tuner::attach(losia, TunerConfig::default(), Mlp::new(&device(), true)).unwrap_err()
    };
    let head = config().with_output_head(Some("lm_head.weight".into()));
    let error = attach(Losia::new(head).unwrap());
    assert!(matches!(error, Error::NoMatch { key: "output_head", .. }), "{error}");
    assert!(error.hint().unwrap().ends_with("head.weight"), "matrices alone can be heads");

    let subnet = |rows| Subnet::new(rows, vec![0], [100, 1]).unwrap();
    let first = |path: &str, subnet| {
        let losia = Losia::new(config()).unwrap();
        attach(losia.with_first_subnets(vec![(path.into(), subnet)]))
    };
    let error = first("blocks.7.weight", subnet(vec![0]));
    assert!(matches!(error, Error::NoMatch { key: "first_subnets", .. }), "{error}");
    let error = first("blocks.0.weight", subnet(vec![12])).to_string();
    assert!(error.contains("rows reach 12") && error.contains("`blocks.0.weight`"), "{error}");
}

#[test]
fn an_adalora_without_its_importance_is_refused_by_the_entry_that_is_missing() {
    let attach = |importance| {
        let config = AdaLoraConfig::new(4).with_init_r(2).with_target_r(1);
        let adalora = AdaLora::new(config.with_importance(importance)).unwrap();
        let base = Mlp::new(&device(), true);
        Tuner::attach(adalora, TunerConfig::default(), base).unwrap()
    };
    let thinned = |importance| {
        let (mut tuner, mut model) = attach(importance);
        let batch = &batches(&device(), 1)[0];
        for _ in 0..3 {
            let grads = GradientsParams::from_grads(model.loss(batch).backward(), &model);
            (model, _) = tuner.step(model, &mut common::optim(), grads).unwrap();
        }
        let mut record = tuner.record(&model).unwrap();
        let full = record.clone();
        record.tensors.remove("blocks.1.weight.lora_e.uncertainty");
        [full, record]
    };
    let restored = |importance, record: &Record| {
        let (mut tuner, model) = attach(importance);
        tuner.restore(model, record).map(|_| ())
    };
    let [full, record] = thinned(RankImportance::Smoothed);
    restored(RankImportance::Smoothed, &full).expect("whole, it fits");
    let error = restored(RankImportance::Smoothed, &record).unwrap_err().to_string();
    let missing = "record entry `blocks.1.weight.lora_e.uncertainty`: is missing";
    assert_eq!(error, missing);
    let [full, record] = thinned(RankImportance::Magnitude);
    assert_eq!(full.tensors, record.tensors, "what is not smoothed is not recorded");
    restored(RankImportance::Magnitude, &record).expect("nor asked for");
}

#[test]
fn a_resumed_adapter_has_the_parameters_of_its_file() {
    let base = || Mlp::new(&device(), true);
    let fresh = Lora::new(LoraConfig::new(4)).unwrap();
    let (tuner, model) = Tuner::attach(fresh, TunerConfig::default(), base()).unwrap();
    let Some(AdapterFile::Peft(mut files)) = tuner.export(&model).unwrap() else { panic!() };
    files.config.modules_to_save = Some(vec!["head".into()]);
    files.other.insert("head.bias".into(), TensorData::from([0.5_f32; 10]));

    let lora = || Lora::from_adapter(&files, LoraConfig::new(4)).unwrap();
    let (tuner, model) = Tuner::attach(lora(), TunerConfig::default(), base()).unwrap();
    let record = tuner.record(&model).unwrap();
    let resumed = Tuner::resume(lora(), TunerConfig::default(), base(), &record);
    let (want, got) = (values(&model), values(&resumed.unwrap().1));
    assert!(want.iter().any(|(path, bias)| path == "head.bias" && bits(bias) == [0x3f00_0000; 10]));
    for ((path, want), (_, got)) in want.iter().zip(&got) {
        assert_eq!(bits(want), bits(got), "{path}");
    }
}
