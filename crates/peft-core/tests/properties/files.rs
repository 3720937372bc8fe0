//! Adapter files: what was written gives the same outputs when it is read.

use burn::module::Module;
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig};
use peft_core::adapter::lora::{Lora, LoraConfig};
use peft_core::store::{AdapterFile, AdapterFiles, PeftType, SettledBlocks};
use peft_core::{Error, Method, Params, Tuner, TunerConfig};

use crate::common::{Mlp, bits, device, max_difference, values};
use crate::methods::{Candidate, adalora_config, adapting};
use crate::{Run, boxed, output};

/// Written, read and attached to a fresh base.
fn reloaded(run: &Run) -> Mlp {
    let dir = tempfile::tempdir().unwrap();
    let file = run.tuner.export(&run.model).unwrap().expect("a file");
    file.write(dir.path()).unwrap();
    let base = Mlp::new(&device(), true);
    match &file {
        AdapterFile::Losia(blocks) => {
            let read = SettledBlocks::read(dir.path()).unwrap();
            assert_eq!(read.0.len(), blocks.0.len());
            read.apply(base).unwrap()
        }
        AdapterFile::Peft(adapter) => {
            let read = AdapterFiles::read(dir.path()).unwrap();
            assert_eq!(read.modules, adapter.modules);
            attach(&read, base)
        }
    }
}

fn attach(adapter: &AdapterFiles, base: Mlp) -> Mlp {
    let method: Box<dyn Method> = match adapter.config.peft_type {
        PeftType::Lora(_) => boxed(Lora::from_adapter(adapter, LoraConfig::new(1)).unwrap()),
        PeftType::AdaLora(_) => {
            boxed(AdaLora::from_adapter(adapter, AdaLoraConfig::new(2)).unwrap())
        }
    };
    Tuner::attach(method, TunerConfig::default(), base).unwrap().1
}

#[test]
fn what_is_read_gives_the_outputs_of_what_was_written() {
    for candidate in adapting() {
        let run = Run::trained(&candidate, &device());
        let difference = max_difference(&run.output(), &output(&reloaded(&run), &run.batches[0]));
        assert!(difference < 1e-5, "{}: {difference}", candidate.name);
    }
}

#[test]
fn losia_blocks_give_the_merged_weights_bit_for_bit() {
    for candidate in adapting().filter(|candidate| candidate.name.starts_with("losia")) {
        let run = Run::trained(&candidate, &device());
        let merged = values(&run.tuner.merge(run.model.clone()).unwrap());
        for ((path, want), (_, got)) in merged.iter().zip(&values(&reloaded(&run))) {
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
            (model, _) = tuner.step(model, &mut crate::common::optim(), grads, 1.0).unwrap();
        }
        let lora = tuner.method().to_lora(tuner.steps(), &Params::of(&model)).unwrap();
        let attached = attach(&lora, Mlp::new(&device, true));
        let difference =
            max_difference(&output(&model, &batches[0]), &output(&attached, &batches[0]));
        assert!(difference < 1e-5, "{difference}");
        let ranks: usize = tuner.method().rank_pattern().map(|(_, kept)| rank(kept)).sum();
        assert_eq!(ranks, 2 * 2, "the budget of two weights");
    }
}

fn rank(kept: &[bool]) -> usize {
    kept.iter().filter(|kept| **kept).count()
}

#[test]
fn modules_to_save_travel_with_a_peft_adapter() {
    let (device, candidate) = (device(), lora());
    let saved = TunerConfig { modules_to_save: vec!["head".into()], ..TunerConfig::default() };
    let (mut tuner, mut model) =
        Tuner::attach((candidate.method)(), saved, Mlp::new(&device, true)).unwrap();
    let batches = crate::common::batches(&device, 4);
    let mut optim = crate::common::optim();
    for batch in &batches {
        let grads = burn::optim::GradientsParams::from_grads(model.loss(batch).backward(), &model);
        (model, _) = tuner.step(model, &mut optim, grads, 1.0).unwrap();
    }
    let Some(AdapterFile::Peft(adapter)) = tuner.export(&model).unwrap() else { panic!("PEFT") };
    assert_eq!(adapter.other.keys().collect::<Vec<_>>(), ["head.bias", "head.weight"]);
    assert_eq!(adapter.other["head.weight"].shape().as_slice(), [10, 16], "[out, in]");
    let attached = attach(&adapter, Mlp::new(&device, true));
    let difference = max_difference(&output(&model, &batches[0]), &output(&attached, &batches[0]));
    assert!(difference < 1e-6, "{difference}");
    assert_eq!(attached.head.num_params(), model.head.num_params());

    let lora = Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap();
    let base = Mlp::new(&device, true);
    let (tuner, model) = Tuner::attach(lora, TunerConfig::default(), base).unwrap();
    let again = tuner.export(&model).unwrap();
    assert_eq!(again, Some(AdapterFile::Peft(adapter.clone())), "written again");
    let error = tuner.detach(model).unwrap_err();
    assert!(matches!(error, Error::Irreversible { .. }), "{error}");

    // Training something else densely does not lose what the file had.
    let lora = Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap();
    let saved = TunerConfig { modules_to_save: vec!["blocks.1.bias".into()], ..Default::default() };
    let (tuner, model) = Tuner::attach(lora, saved, Mlp::new(&device, true)).unwrap();
    let Some(AdapterFile::Peft(both)) = tuner.export(&model).unwrap() else { panic!("PEFT") };
    let paths: Vec<_> = both.other.keys().map(String::as_str).collect();
    assert_eq!(paths, ["blocks.1.bias", "head.bias", "head.weight"]);
    assert_eq!(both.config.modules_to_save.unwrap(), ["blocks.1", "head"]);
}

fn lora() -> Candidate {
    adapting().find(|candidate| candidate.name == "lora").expect("listed")
}

#[test]
fn what_a_file_says_besides_survives_training() {
    for name in ["lora", "adalora"] {
        let candidate = adapting().find(|candidate| candidate.name == name).expect("listed");
        let run = Run::trained(&candidate, &device());
        let Some(AdapterFile::Peft(mut adapter)) = run.tuner.export(&run.model).unwrap() else {
            panic!("PEFT")
        };
        adapter.config.base_model_name_or_path = Some("a/base".into());
        adapter.config.extra.insert("a_key_of_tomorrow".into(), 7.into());
        let method: Box<dyn Method> = match name {
            "lora" => boxed(Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap()),
            _ => boxed(AdaLora::from_adapter(&adapter, AdaLoraConfig::new(2)).unwrap()),
        };
        let base = Mlp::new(&device(), true);
        let (tuner, model) = Tuner::attach(method, TunerConfig::default(), base).unwrap();
        let again = tuner.export(&model).unwrap();
        assert_eq!(again, Some(AdapterFile::Peft(adapter)), "{name}");
    }
}

#[test]
fn an_adapter_for_another_model_is_refused_by_module() {
    let run = Run::trained(&lora(), &device());
    let Some(AdapterFile::Peft(mut adapter)) = run.tuner.export(&run.model).unwrap() else {
        panic!("PEFT")
    };
    let module = adapter.modules.remove("blocks.0").unwrap();
    adapter.modules.insert("blocks.7".into(), module);
    let lora = Lora::from_adapter(&adapter, LoraConfig::new(1)).unwrap();
    let base = Mlp::new(&device(), true);
    let error = Tuner::attach(lora, TunerConfig::default(), base).unwrap_err().to_string();
    assert_eq!(error, "`adapter` = \"blocks.7\" matches no parameter of this model");
}
