//! What a run is made of, so that a checkpoint is resumed by the run it belongs to and by no other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use peft_core::TunerConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::config::TrainConfig;
use super::fingerprint::fingerprint;
use crate::Error;
use crate::data::Sample;
use crate::hash;

/// What a run is made of. A resume refuses a checkpoint of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Name of the method.
    pub method: String,
    /// Settings that decide the weights: the method's, the run's, `modules_to_save`.
    pub config: Value,
    /// Number of training samples.
    pub samples: usize,
    /// SHA-256 of the training samples' ids, labels and borders, in their order before shuffling.
    pub data: String,
    /// Element type of the base's weights.
    pub dtype: String,
    /// The base model and its tokenizer, where the caller knows their folder.
    pub base: Option<BaseIdentity>,
}

/// The files a base model comes from, as SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// Their folder, which adapters name as their base. No checkpoint knows it: a base may be moved.
    #[serde(skip)]
    pub dir: PathBuf,
    /// Of `config.json`.
    pub config: String,
    /// Of every tensor's name, type, shape and up to 8 KiB of its bytes, evenly spread. Weights
    /// trained or merged otherwise differ in most entries and so are told apart; a change of a
    /// few entries may be missed. Into which files they are sharded does not matter.
    pub weights: String,
    /// Of `tokenizer.json`, if there is one.
    pub tokenizer: Option<String>,
}

impl BaseIdentity {
    /// Identifies the Hugging Face checkpoint in the folder `dir`. Reads a few megabytes, not the
    /// weights.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Model`] for a damaged index or safetensors file.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let tokenizer = dir.join("tokenizer.json");
        Ok(Self {
            dir: dir.canonicalize().map_err(Error::read(dir))?,
            config: hash_file(&dir.join("config.json"))?,
            weights: fingerprint(dir)?,
            tokenizer: tokenizer.exists().then(|| hash_file(&tokenizer)).transpose()?,
        })
    }

    /// The first part in which two bases differ.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            ("config.json", self.config == other.config),
            ("weights", self.weights == other.weights),
            ("tokenizer.json", self.tokenizer == other.tokenizer),
        ];
        parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
    }
}

/// Settings that decide the weights: the method's, those of `run`, what `tuner` trains whole.
pub(crate) fn settings(method: &Value, run: &TrainConfig, tuner: &TunerConfig) -> Value {
    json!({
        "method": method,
        "run": run.identity(),
        "modules_to_save": tuner.modules_to_save,
    })
}

impl RunIdentity {
    /// Of a run that trains a base, whose weights are `dtype`, with `method` on `samples`.
    pub(crate) fn new(
        method: &str,
        settings: Value,
        samples: &[Sample],
        dtype: DType,
        base: Option<BaseIdentity>,
    ) -> Self {
        Self {
            method: method.into(),
            config: settings,
            samples: samples.len(),
            data: hash_samples(samples),
            dtype: format!("{dtype:?}"),
            base,
        }
    }

    /// In what this identity, read from a checkpoint, differs from that of the run: the first thing, as a
    /// person would put it. What follows from another thing comes after it.
    pub(super) fn difference(&self, run: &Self) -> Option<String> {
        let Self { method, config, samples, data, dtype, base } = self;
        if *method != run.method {
            return Some(differs("`method`", &json!(method), &json!(run.method)));
        }
        let part = match (base, &run.base) {
            (None, None) => None,
            (Some(own), Some(other)) => own.difference(other).map(|part| format!("other {part}")),
            _ => Some("of one of them, none is known".into()),
        };
        if let Some(part) = part {
            return Some(format!("was written on another base model: {part}"));
        }
        let setting = |part: &str| {
            let [own, other] = [config, &run.config].map(|config| as_read(&config[part]));
            first_difference(part, &own, &other)
        };
        let settings = || {
            let whole = || first_difference("", &as_read(config), &as_read(&run.config));
            setting("method").or_else(|| setting("modules_to_save")).or_else(whole)
        };
        let named = |(key, own, other): (String, _, _)| differs(&name_of(&key), &own, &other);
        if let Some(difference) = setting("run") {
            return Some(named(difference));
        }
        if samples != &run.samples {
            return Some(differs("number of samples", &json!(samples), &json!(run.samples)));
        }
        if data != &run.data {
            let reason = "was written by a run on other samples: other data, or cut, packed, split or put \
                          into words differently";
            return Some(reason.into());
        }
        if let Some(difference) = settings() {
            return Some(named(difference));
        }
        let [own, other] = [dtype, &run.dtype].map(|dtype| json!(dtype.to_lowercase()));
        (own != other).then(|| differs("`dtype`", &own, &other))
    }
}

fn differs(what: &str, found: &Value, expected: &Value) -> String {
    format!("was written with {what} = {found}, but this run has {expected}")
}

/// As it comes out of a checkpoint: decimal fractions read back may differ in the last bit from those
/// that were written.
fn as_read(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_default()
}

/// What a person calls the setting with that path.
fn name_of(key: &str) -> String {
    let name = ["run.", "method."].into_iter().find_map(|part| key.strip_prefix(part));
    match name.unwrap_or(key) {
        "total_steps" => "number of steps".into(),
        "batches_per_step" => "`gradient_accumulation_steps` × devices".into(),
        "r" => "`lora_r`".into(),
        "delta_t" => "`deltaT`".into(),
        name => format!("`{name}`"),
    }
}

fn first_difference(key: &str, a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|name| {
                let [a, b] = [a, b].map(|map| map.get(name).unwrap_or(&Value::Null));
                let key = [key, name].into_iter().filter(|part| !part.is_empty());
                first_difference(&key.collect::<Vec<_>>().join("."), a, b)
            })
        }
        _ if a == b => None,
        _ => Some((key.into(), a.clone(), b.clone())),
    }
}

/// SHA-256 of the samples' ids, labels and borders, in their order.
pub(crate) fn hash_samples(samples: &[Sample]) -> String {
    let mut hash = Sha256::new();
    let length = |length: usize| (length as u64).to_le_bytes();
    for Sample { input_ids, labels, document_starts } in samples {
        let mut bytes = length(input_ids.len()).to_vec();
        bytes.extend(input_ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(labels.iter().flat_map(|label| label.to_le_bytes()));
        bytes.extend(length(document_starts.len()));
        bytes.extend(document_starts.iter().flat_map(|start| length(*start)));
        hash.update(&bytes);
    }
    hash::hex(&hash.finalize())
}

fn hash_file(path: &Path) -> Result<String, Error> {
    let mut hash = Sha256::new();
    hash::add_file(&mut hash, path)?;
    Ok(hash::hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: &[u32], labels: &[i64]) -> Sample {
        Sample::new(ids.to_vec(), labels.to_vec())
    }

    fn identity() -> RunIdentity {
        let (dir, config, weights) = ("base".into(), "c".into(), "w".into());
        let base = BaseIdentity { dir, config, weights, tokenizer: None };
        RunIdentity {
            method: "lora".into(),
            config: json!({ "method": { "r": 8, "rate": 0.1 + 0.2 }, "run": { "seed": 1 } }),
            samples: 4,
            data: "d".into(),
            dtype: "F32".into(),
            base: Some(base),
        }
    }

    #[test]
    fn a_difference_is_named_with_both_values() {
        let run = identity();
        let parsed: RunIdentity =
            serde_json::from_slice(&serde_json::to_vec(&run).unwrap()).unwrap();
        assert_eq!(parsed.difference(&run), None, "wherever the base is");
        type Change = fn(&mut RunIdentity);
        let cases: [(Change, &str); 11] = [
            (|i| i.method = "losia".into(), "`method` = \"lora\", but this run has \"losia\""),
            (|i| i.config["method"]["r"] = 16.into(), "`lora_r` = 8, but this run has 16"),
            (|i| i.config["method"]["rate"] = 0.3.into(), "`rate` = 0.3"),
            (|i| i.config["run"]["seed"] = 2.into(), "`seed` = 1, but this run has 2"),
            (|i| i.config["other"] = 2.into(), "`other` = null, but this run has 2"),
            (|i| i.samples = 5, "number of samples = 4, but this run has 5"),
            (|i| i.data = "e".into(), "on other samples"),
            (|i| i.dtype = "BF16".into(), "`dtype` = \"f32\", but this run has \"bf16\""),
            (|i| i.base.as_mut().unwrap().weights = "v".into(), "base model: other weights"),
            (
                |i| i.base.as_mut().unwrap().tokenizer = Some("t".into()),
                "base model: other tokenizer.json",
            ),
            (|i| i.base = None, "none is known"),
        ];
        for (change, expected) in cases {
            let mut other = run.clone();
            change(&mut other);
            let difference = parsed.difference(&other).unwrap();
            assert!(difference.contains(expected), "{difference}");
        }
    }

    #[test]
    fn samples_are_told_apart_by_ids_labels_borders_and_order() {
        let a = sample(&[1, 2], &[-100, 2]);
        let b = sample(&[3], &[3]);
        let hash = |samples: &[&Sample]| {
            hash_samples(&samples.iter().map(|sample| (*sample).clone()).collect::<Vec<_>>())
        };
        let variants = [
            hash(&[&a, &b]),
            hash(&[&b, &a]),
            hash(&[&a]),
            hash(&[&sample(&[1, 2], &[1, 2]), &b]),
            hash(&[&sample(&[1, 2, 3], &[-100, 2, 3])]),
            hash(&[&Sample { document_starts: vec![0, 1], ..a.clone() }, &b]),
        ];
        let unique: BTreeSet<_> = variants.iter().collect();
        assert_eq!(unique.len(), variants.len());
        assert_eq!(variants[0], hash(&[&a, &b]));
    }

    #[test]
    fn a_base_is_told_apart_by_each_of_its_files() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-llama");
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::copy(cases.join(name), dir.path().join(name)).unwrap();
        }
        let before = BaseIdentity::of(dir.path()).unwrap();
        for name in ["config.json", "tokenizer.json"] {
            let path = dir.path().join(name);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
        }
        let after = BaseIdentity::of(dir.path()).unwrap();
        assert_eq!(before.weights, after.weights);
        assert_ne!(before.config, after.config);
        assert_ne!(before.tokenizer, after.tokenizer);
        std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
        assert_eq!(BaseIdentity::of(dir.path()).unwrap().tokenizer, None);
        std::fs::remove_file(dir.path().join("config.json")).unwrap();
        let error = BaseIdentity::of(dir.path()).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
        assert_eq!(before.dir, dir.path().canonicalize().unwrap());
    }
}
