//! The decoder against the reference results in `tests/cases` of the workspace.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Param;
use burn::store::{ModuleStore, SafetensorsStore, bridge};
use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor, TensorData};
use peft_core::{Place, VisitFloat, visit_floats};
use peft_llama::{CausalLm, Checkpoint, DecoderConfig, cross_entropy_sum};
use peft_testing::{device, device_with};
use serde_json::Value;
use tempfile::TempDir;

/// A folder of reference results.
struct Case {
    dir: PathBuf,
    description: Value,
    io: BTreeMap<String, TensorData>,
}

impl Case {
    fn open(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name);
        let description = std::fs::read_to_string(dir.join("case.json")).unwrap();
        let description = serde_json::from_str(&description).unwrap();
        let io = read(dir.join("io.safetensors"));
        Self { dir, description, io }
    }

    /// The model built from the configuration file of the given name.
    fn model(&self, config: &str, device: &Device) -> CausalLm {
        let folder = TempDir::new().unwrap();
        std::fs::copy(self.dir.join(config), folder.path().join("config.json")).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(self.dir.join(weights), folder.path().join(weights)).unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap();
        checkpoint.load(device, Some(DType::F32), |_| ()).unwrap().0
    }

    fn ints(&self, name: &str, device: &Device) -> Tensor<2, Int> {
        Tensor::from_data(self.io[name].clone(), device)
    }

    fn mask(&self, device: &Device) -> Tensor<2, Bool> {
        self.ints("pad.attention_mask", device).equal_elem(1)
    }

    fn check(&self, tolerance: &str, what: &str, got: Vec<f32>, want: &[f32]) {
        let allowed = self.description["tolerance"][tolerance].as_f64().unwrap() as f32;
        assert_eq!(got.len(), want.len(), "{what}");
        let error = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= allowed, "{what}: differs by {error}, allowed are {allowed}");
    }

    fn want(&self, name: &str) -> Vec<f32> {
        floats(&self.io[name])
    }
}

fn read(path: PathBuf) -> BTreeMap<String, TensorData> {
    let mut store = SafetensorsStore::from_file(path);
    let tensors = store.get_all_tensors().unwrap();
    tensors.iter().map(|(name, t)| (name.clone(), bridge::to_data(t).unwrap())).collect()
}

fn floats(data: &TensorData) -> Vec<f32> {
    data.clone().try_into_vec().unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn mean_loss(logits: Tensor<3>, labels: Tensor<2, Int>) -> Tensor<1> {
    let (sum, count) = cross_entropy_sum(logits, labels);
    sum / count.float()
}

const CASES: [&str; 4] = ["llama_tiny", "llama3_rope_tiny", "gemma_tiny", "gemma2_tiny"];
const CONFIGS: [&str; 2] = ["config.json", "config.legacy.json"];

#[test]
fn logits_loss_and_hidden_states() {
    let device = device();
    for case in CASES.map(Case::open) {
        for config in CONFIGS {
            let model = case.model(config, &device);
            let ids = case.ints("input_ids", &device);
            let logits = model.forward(ids.clone(), None);
            let loss = mean_loss(logits.clone(), case.ints("labels", &device));
            case.check("logits", "logits", values(logits), &case.want("logits"));
            case.check("loss", "loss", values(loss), &case.want("loss"));

            let states = model.hidden_states(ids, None);
            assert!(!case.io.contains_key(&format!("hidden.{}", states.len())));
            for (i, state) in states.into_iter().enumerate() {
                let name = format!("hidden.{i}");
                case.check("hidden", &name, values(state), &case.want(&name));
            }
        }
    }
}

#[test]
fn padded_batches() {
    let device = device();
    for case in CASES.map(Case::open) {
        let model = case.model(CONFIGS[0], &device);
        let ids = case.ints("input_ids", &device);
        let logits = model.forward(ids, Some(case.mask(&device)));
        let loss = mean_loss(logits.clone(), case.ints("pad.labels", &device));
        case.check("loss", "pad.loss", values(loss), &case.want("pad.loss"));

        let real = case.mask(&device).unsqueeze_dim::<3>(2).float();
        let want = Tensor::<3>::from_data(case.io["pad.logits"].clone(), &device);
        let (got, want) = (values(logits * real.clone()), values(want * real));
        case.check("logits", "pad.logits", got, &want);
    }
}

#[test]
fn rotary_frequencies() {
    for case in CASES.map(Case::open) {
        for config in CONFIGS {
            let config = DecoderConfig::from_file(case.dir.join(config)).unwrap();
            let got = config.rope.inv_freq(config.head_dim);
            case.check("inv_freq", "inv_freq", got, &case.want("rope.inv_freq"));
        }
    }
}

/// Gradients by parameter path, linear weights as the checkpoint stores them, `[out, in]`.
struct ByPath<'a> {
    gradients: &'a Gradients,
    found: BTreeMap<String, Vec<f32>>,
}

impl VisitFloat for ByPath<'_> {
    fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).unwrap();
        let is_linear = place.container() == "Linear";
        let gradient = if is_linear { gradient.swap_dims(0, 1) } else { gradient };
        self.found.insert(place.path(), values(gradient));
    }
}

#[test]
fn gradients_of_every_weight() {
    let device = device().autodiff();
    for case in CASES.map(Case::open) {
        let model = case.model(CONFIGS[0], &device);
        let logits = model.forward(case.ints("input_ids", &device), None);
        let gradients = mean_loss(logits, case.ints("labels", &device)).backward();
        let mut visitor = ByPath { gradients: &gradients, found: BTreeMap::new() };
        visit_floats(&model, &mut visitor);
        for (name, want) in read(case.dir.join("grads.safetensors")) {
            case.check("grads", &name, visitor.found.remove(&name).unwrap(), &floats(&want));
        }
    }
}

#[test]
fn half_precision_stays_close() {
    for case in CASES.map(Case::open) {
        let checkpoint = Checkpoint::open(&case.dir).unwrap();
        for (dtype, allowed) in [(DType::BF16, 0.1), (DType::F16, 0.02)] {
            let device = device_with(dtype);
            let (model, report) = checkpoint.load(&device, Some(dtype), |_| ()).unwrap();
            assert_eq!(report.dtype, dtype);
            let logits = model.forward(case.ints("input_ids", &device), None);
            assert_eq!(logits.dtype(), dtype);
            let want = case.want("logits");
            let largest = want.iter().fold(0f32, |a, b| a.max(b.abs()));
            let errors = values(logits).into_iter().zip(want).map(|(a, b)| (a - b).abs());
            let error = errors.fold(0.0, f32::max) / largest;
            assert!(error < allowed, "{dtype:?} differs by {error} of the largest logit");
        }
    }
}
