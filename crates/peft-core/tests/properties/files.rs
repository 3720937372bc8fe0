//! Adapter files: what was written gives the same outputs when it is read.

use burn::module::Module;
use burn::tensor::{DType, FloatDType, TensorData};
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig};
use peft_core::adapter::lora::{Lora, LoraConfig};
use peft_core::store::{AdapterFile, AdapterFiles, ModuleTensors, PeftType, SettledBlocks};
use peft_core::{Catalogue, Error, Method, Outline, Params, Tuner, TunerConfig};

use crate::common::{Mlp, bits, device, device_with, max_difference, tolerance, values};
use crate::inspect::output;
use crate::methods::{Candidate, adalora_config, adapting, named};
use crate::precision::cast;
use crate::{OTHER_SEED, Run, SEED};

/// What training changed.
pub fn file(run: &Run) -> AdapterFile {
    run.tuner.export(&run.model).unwrap().expect("a file")
}

/// `file` written, read, and gone on from on a fresh base under another seed.
pub fn load(candidate: &Candidate, file: &AdapterFile) -> Run {
    let dir = tempfile::tempdir().unwrap();
    file.write(dir.path()).unwrap();
    let base = Mlp::new(&device(), true);
    let (method, base) = match file {
        AdapterFile::Losia(_) => {
            let blocks = SettledBlocks::read(dir.path()).unwrap();
            (candidate.method(OTHER_SEED), blocks.apply(base).unwrap())
        }
        AdapterFile::Peft(_) => (given(&AdapterFiles::read(dir.path()).unwrap()), base),
    };
    Run::of(method, base, &device())
}

/// The method of an adapter, to go on from it.
fn given(adapter: &AdapterFiles) -> Box<dyn Method> {
    let (lora, adalora) = (LoraConfig::new(1), AdaLoraConfig::new(2));
    match adapter.config.peft_type {
        PeftType::Lora(_) => {
            Box::new(Lora::from_adapter(adapter, lora.with_seed(OTHER_SEED)).unwrap())
        }
        PeftType::AdaLora(_) => {
            Box::new(AdaLora::from_adapter(adapter, adalora.with_seed(OTHER_SEED)).unwrap())
        }
    }
}

fn attach(adapter: &AdapterFiles, base: Mlp) -> Mlp {
    Tuner::attach(given(adapter), TunerConfig::default(), base).unwrap().1
}

#[test]
fn what_is_read_is_what_was_written() {
    for candidate in adapting() {
        let run = Run::trained(&candidate, &device());
        let written = file(&run);
        let loaded = load(&candidate, &written);
        let difference = max_difference(&run.output(), &loaded.output());
        assert!(difference < tolerance(1e-5), "{}: {difference}", candidate.name);
        if let AdapterFile::Peft(_) = written {
            assert_eq!(file(&loaded), written, "{}: every parameter", candidate.name);
            continue;
        }
        let merged = |run: Run| values(&run.tuner.merge(run.model).unwrap());
        for ((path, want), (_, got)) in merged(run).iter().zip(&merged(loaded)) {
            assert_eq!(bits(got), bits(want), "{}: {path}", candidate.name);
        }
    }
}

#[test]
fn a_finished_adalora_is_a_plain_lora_too() {
    for config in [adalora_config(), adalora_config().with_compact(false)] {
        let device = device();
        let adalora = AdaLora::new(config).unwrap();
        let (mut tuner, mut model) =
            Tuner::attach(adalora, TunerConfig::default(), Mlp::new(&device, true)).unwrap();
        let batches = crate::common::batches(&device, 4);
        for step in 0..crate::STEPS {
            let grads = burn::optim::GradientsParams::from_grads(
                model.loss(&batches[step % 4]).backward(),
                &model,
            );
            (model, _) = tuner.step(model, &mut crate::common::optim(), grads).unwrap();
        }
        let lora = tuner.method().to_lora(tuner.steps(), &Params::of(&model)).unwrap();
        let Some(AdapterFile::Peft(own)) = tuner.export(&model).unwrap() else { panic!("PEFT") };
        assert_eq!(own.to_lora().unwrap(), lora, "from its file alone");
        let attached = attach(&lora, Mlp::new(&device, true));
        let difference =
            max_difference(&output(&model, &batches[0]), &output(&attached, &batches[0]));
        assert!(difference < tolerance(1e-5), "{difference}");
        let ranks: usize = tuner.method().rank_pattern().map(|(_, kept)| rank(kept)).sum();
        assert_eq!(ranks, 2 * 2, "the budget of two weights");
    }
}

fn rank(kept: &[bool]) -> usize {
    kept.iter().filter(|kept| **kept).count()
}

#[test]
fn modules_to_save_travel_with_a_peft_adapter() {
    let (device, candidate) = (device(), named("lora"));
    let (mut tuner, mut model) =
        Tuner::attach(candidate.method(SEED), saving("head"), Mlp::new(&device, true)).unwrap();
    let batches = crate::common::batches(&device, 4);
    let mut optim = crate::common::optim();
    for batch in &batches {
        let grads = burn::optim::GradientsParams::from_grads(model.loss(batch).backward(), &model);
        (model, _) = tuner.step(model, &mut optim, grads).unwrap();
    }
    let Some(AdapterFile::Peft(adapter)) = tuner.export(&model).unwrap() else { panic!("PEFT") };
    assert_eq!(adapter.other.keys().collect::<Vec<_>>(), ["head.bias", "head.weight"]);
    assert_eq!(adapter.other["head.weight"].shape().as_slice(), [10, 16], "[out, in]");
    let attached = attach(&adapter, Mlp::new(&device, true));
    let difference = max_difference(&output(&model, &batches[0]), &output(&attached, &batches[0]));
    assert!(difference < tolerance(1e-6), "{difference}");
    assert_eq!(attached.head.num_params(), model.head.num_params());

    let lora = Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap();
    let base = Mlp::new(&device, true);
    let (tuner, model) = Tuner::attach(lora, TunerConfig::default(), base).unwrap();
    let again = tuner.export(&model).unwrap();
    assert_eq!(again, Some(AdapterFile::Peft(adapter.clone())), "written again");
    let error = tuner.detach(model).unwrap_err();
    assert!(matches!(error, Error::Irreversible { .. }), "{error}");
}

/// The adapter of a trained LoRA on both blocks.
fn lora_file() -> Box<AdapterFiles> {
    match file(&Run::trained(&named("lora"), &device())) {
        AdapterFile::Peft(files) => files,
        AdapterFile::Losia(_) => panic!("PEFT"),
    }
}

fn saving(name: &str) -> TunerConfig {
    TunerConfig { modules_to_save: vec![name.into()], ..TunerConfig::default() }
}

/// That with a head of `value`s beside it.
fn with_head(value: f32) -> Box<AdapterFiles> {
    let mut adapter = lora_file();
    adapter.config.modules_to_save = Some(vec!["head".into()]);
    let head = [("head.bias", vec![10]), ("head.weight", vec![10, 16])];
    adapter.other = head.map(|(path, shape)| (path.into(), TensorData::full(shape, value))).into();
    adapter
}

#[test]
fn an_adapter_that_was_outlined_on_another_model_can_be_attached() {
    let mut lora = Lora::from_adapter(&with_head(1.0), LoraConfig::new(1)).unwrap();
    let [other, base] = [0, 1].map(|_| Mlp::new(&device(), true));
    Outline::new(&mut lora, &TunerConfig::default(), &Catalogue::of(&other).unwrap()).unwrap();
    let (_, model) = Tuner::attach(lora, TunerConfig::default(), base).unwrap();
    assert_eq!(bits(&model.head.weight.val().into_data()), [1.0_f32.to_bits(); 16 * 10]);
}

#[test]
fn a_file_that_is_not_finite_is_not_merged() {
    let base = Mlp::new(&device(), true);
    for candidate in adapting() {
        let mut file = file(&Run::trained(&candidate, &device()));
        file.merge(base.clone()).expect("as it was written");
        poison(&mut file);
        let error = file.merge(base.clone()).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{}: {error}", candidate.name);
    }
}

/// Makes what `file` has for a weight not a number.
fn poison(file: &mut AdapterFile) {
    let tensor = match file {
        AdapterFile::Losia(blocks) => &mut blocks.0[0].delta,
        AdapterFile::Peft(files) => match files.modules.get_mut("blocks.0").expect("adapted") {
            ModuleTensors::Lora { b, .. } | ModuleTensors::AdaLora { b, .. } => b,
        },
    };
    *tensor = TensorData::full(tensor.shape().to_vec(), f32::NAN);
}

#[test]
fn a_parameter_stored_whole_is_merged_if_the_model_can_hold_it() {
    let device = device_with(DType::F16);
    let merge = |value, dtype| {
        let base = cast(Mlp::new(&device, true), dtype);
        AdapterFile::Peft(with_head(value)).merge(base).map(drop)
    };
    let bias = Error::NotFinite { path: "head.bias".into(), step: 0 };
    assert_eq!(merge(1e6, FloatDType::F32), Ok(()));
    assert_eq!(merge(1e6, FloatDType::F16), Err(bias.clone()), "above 65504");
    assert_eq!(merge(f32::NAN, FloatDType::F32), Err(bias));
    let mut weight_alone = with_head(f32::INFINITY);
    weight_alone.other.remove("head.bias");
    let error = AdapterFile::Peft(weight_alone).merge(Mlp::new(&device, true)).unwrap_err();
    assert_eq!(error, Error::NotFinite { path: "head.weight".into(), step: 0 });
}

#[test]
fn a_module_of_which_a_parameter_was_trained_is_saved_whole_beside_what_the_file_had() {
    let (mut adapter, device) = (with_head(1.0), device());
    adapter.modules.remove("blocks.1");
    let lora = Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap();
    let base = Mlp::new(&device, true);
    let (tuner, model) = Tuner::attach(lora, saving("blocks.1.bias"), base.clone()).unwrap();
    let Some(AdapterFile::Peft(both)) = tuner.export(&model).unwrap() else { panic!("PEFT") };
    let paths: Vec<_> = both.other.keys().map(String::as_str).collect();
    assert_eq!(paths, ["blocks.1.bias", "blocks.1.weight", "head.bias", "head.weight"]);
    assert_eq!(both.config.modules_to_save.as_ref().unwrap(), &["blocks.1", "head"]);
    let weight = base.blocks[1].weight.val().inner().transpose().into_data();
    assert_eq!(bits(&both.other["blocks.1.weight"]), bits(&weight), "[out, in]");
    assert_eq!(both.other["head.bias"], adapter.other["head.bias"]);
}

#[test]
fn a_parameter_beside_an_adapter_cannot_be_in_its_file() {
    let attach = |name, saved: &str| {
        let method = named(name).method(SEED);
        Tuner::attach(method, saving(saved), Mlp::new(&device(), true)).map(|_| ())
    };
    for name in ["lora", "dora", "adalora"] {
        let error = attach(name, "blocks.1.bias").unwrap_err().to_string();
        let found = "`modules_to_save` is blocks.1.bias, beside the adapter of `blocks.1`, ";
        assert!(error.starts_with(found), "{name}: {error}");
    }
    attach("losia", "blocks.1.bias").expect("its file is not PEFT's");
}

#[test]
fn what_a_file_adapts_is_not_left_to_dense_training() {
    let lora = Lora::from_adapter(&lora_file(), LoraConfig::new(1)).unwrap();
    let base = Mlp::new(&device(), true);
    let error = Tuner::attach(lora, saving("blocks.1"), base).unwrap_err().to_string();
    let found = "`modules_to_save` is blocks.1.weight, ";
    assert_eq!(error, format!("{found}expected modules without an adapter"));
}

#[test]
fn a_parameter_of_another_shape_is_refused_by_file_and_tensor() {
    for (path, stored, problem) in [
        ("head.bias", vec![3], "head.bias` has shape [3], expected [10]"),
        ("head.weight", vec![16, 10], "head.weight` has shape [16, 10], expected [10, 16]"),
        ("head.bias", vec![10, 1, 1], "head.bias` has shape [10, 1, 1], expected [10]"),
        ("blocks.1.bias", vec![1], "blocks.1.base_layer.bias` has shape [1], expected [16]"),
    ] {
        let mut adapter = lora_file();
        adapter.other = [(path.to_string(), TensorData::ones::<f32, _>(stored))].into();
        let error = AdapterFile::Peft(adapter).attach(Mlp::new(&device(), true)).unwrap_err();
        let tensor = "adapter_model.safetensors: tensor `base_model.model.";
        assert_eq!(error.to_string(), format!("{tensor}{problem}"));
        assert!(error.hint().unwrap().contains("base model"));
    }
}

#[test]
fn what_a_file_says_besides_survives_training() {
    for name in ["lora", "adalora"] {
        let AdapterFile::Peft(mut adapter) = file(&Run::trained(&named(name), &device())) else {
            panic!("PEFT")
        };
        adapter.config.base_model_name_or_path = Some("a/base".into());
        adapter.config.extra.insert("a_key_of_tomorrow".into(), 7.into());
        let adapter = AdapterFile::Peft(adapter);
        assert_eq!(file(&load(&named(name), &adapter)), adapter, "{name}");
    }
}

#[test]
fn an_adapter_for_another_model_is_refused_by_module() {
    let mut adapter = lora_file();
    let module = adapter.modules.remove("blocks.0").unwrap();
    adapter.modules.insert("blocks.7".into(), module);
    let lora = Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap();
    let base = Mlp::new(&device(), true);
    let error = Tuner::attach(lora, TunerConfig::default(), base).unwrap_err().to_string();
    assert_eq!(error, "`adapter` = \"blocks.7\" matches no parameter of this model");
}
