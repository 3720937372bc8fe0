//! An embedding trained densely that is the output head too, in PEFT's files.

mod common;

use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorData};
use common::{bits, device, max_difference, optim, tolerance};
use peft_core::adapter::lora::{Lora, LoraConfig};
use peft_core::store::{AdapterFile, AdapterFiles};
use peft_core::{Error, TargetModules, Tuner, TunerConfig, hook};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

#[derive(Module, Debug)]
struct Decoder {
    embed_tokens: Embedding,
    layer: Linear,
}

/// The names of a causal language model, whose head is the embedding unless it has one.
#[derive(Module, Debug)]
struct CausalLm {
    model: Decoder,
    lm_head: Option<Linear>,
}

impl CausalLm {
    fn new(tied: bool) -> Self {
        let device = &device();
        let weight = Param::from_tensor(common::random([24, 8], 3, device));
        let head = Linear { bias: None, ..common::linear(8, 24, 5, device) };
        let layer = common::linear(8, 8, 4, device);
        let model = Decoder { embed_tokens: Embedding { weight }, layer };
        Self { model, lm_head: (!tied).then_some(head) }
    }

    fn logits(&self) -> Tensor<3> {
        let ids = Tensor::<2, Int>::from_data([[0, 5, 9, 13], [1, 3, 21, 23]], &device());
        let embedding = &self.model.embed_tokens;
        let hidden = hook::linear(&self.model.layer, hook::embedding(embedding, ids));
        match &self.lm_head {
            Some(head) => hook::linear(head, hidden),
            None => hook::tied_head(embedding, hidden),
        }
    }
}

fn config() -> LoraConfig {
    LoraConfig::new(4).with_target_modules(TargetModules::Names(vec!["layer".into()]))
}

/// A model trained with its embedding, and its adapter's file.
fn trained(tied: bool) -> (CausalLm, AdapterFiles) {
    let saved = TunerConfig { modules_to_save: vec!["embed_tokens".into()], ..Default::default() };
    let lora = Lora::new(config()).unwrap();
    let (mut tuner, mut model) = Tuner::attach(lora, saved, CausalLm::new(tied)).unwrap();
    for _ in 0..3 {
        let loss = model.logits().powi_scalar(2).mean();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        (model, _) = tuner.step(model, &mut optim(), grads).unwrap();
    }
    match tuner.export(&model).unwrap() {
        Some(AdapterFile::Peft(files)) => (model, *files),
        other => panic!("{other:?}"),
    }
}

fn attach(files: &AdapterFiles, tied: bool) -> Result<CausalLm, Error> {
    AdapterFile::from(files.clone()).attach(CausalLm::new(tied))
}

#[test]
fn a_tied_embedding_is_stored_as_both_and_read_as_one() {
    let (model, files) = trained(true);
    assert_eq!(files.other.keys().collect::<Vec<_>>(), [HEAD, EMBEDDING]);
    assert_eq!(bits(&files.other[HEAD]), bits(&files.other[EMBEDDING]));
    assert_eq!(files.config.modules_to_save.as_ref().unwrap(), &["lm_head", "model.embed_tokens"]);
    assert_eq!(files.config.extra["ensure_weight_tying"], true);

    let dir = tempfile::tempdir().unwrap();
    files.write(&dir).unwrap();
    let read = AdapterFiles::read(&dir).unwrap();
    assert_eq!(read, files);
    let attached = attach(&read, true).unwrap();
    let difference = max_difference(&attached.logits().into_data(), &model.logits().into_data());
    assert!(difference < tolerance(1e-6), "{difference}");

    let lora = Lora::from_adapter(&read, config()).unwrap();
    let (tuner, model) = Tuner::attach(lora, TunerConfig::default(), CausalLm::new(true)).unwrap();
    assert_eq!(tuner.export(&model).unwrap(), Some(read.into()), "written again");
}

#[test]
fn an_embedding_with_a_head_of_its_own_is_stored_alone() {
    let (model, files) = trained(false);
    assert_eq!(files.other.keys().collect::<Vec<_>>(), [EMBEDDING]);
    assert_eq!(files.config.extra.get("ensure_weight_tying"), None);
    let attached = attach(&files, false).unwrap();
    let difference = max_difference(&attached.logits().into_data(), &model.logits().into_data());
    assert!(difference < tolerance(1e-6), "{difference}");
}

#[test]
fn one_of_two_tied_modules_is_refused() {
    let other = TensorData::ones::<f32, _>([24, 8]);
    type Damage = fn(&mut AdapterFiles, TensorData);
    let cases: [(&str, Damage); 3] = [
        ("`model.embed_tokens` without `lm_head`", |files, _| drop(files.other.remove(HEAD))),
        ("`lm_head` without `model.embed_tokens`", |files, _| drop(files.other.remove(EMBEDDING))),
        ("`model.embed_tokens` unlike `lm_head`", |files, other| {
            files.other.insert(HEAD.into(), other);
        }),
    ];
    for (found, damage) in cases {
        let mut files = trained(true).1;
        damage(&mut files, other.clone());
        let error = attach(&files, true).unwrap_err();
        let start =
            format!("adapter_config.json: `modules_to_save` is {found}, which are one tensor");
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(error.hint().unwrap().contains("ensure_weight_tying"));
        attach(&files, false).expect("of two modules, each has its own");
    }
}
