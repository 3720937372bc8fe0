//! Checkpoints of a run: what training changed, not the frozen base.

use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use burn::tensor::TensorData;
use peft_core::Record;
use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";

/// What a checkpoint belongs to. A resume refuses another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// Name of the method.
    pub method: String,
    /// Configuration of method and run.
    pub config: Value,
    /// Number of training samples.
    pub samples: usize,
    /// Element type of the base's weights.
    pub dtype: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    manifest: CheckpointManifest,
    steps: usize,
    state: Map<String, Value>,
}

/// The folder of the last checkpoint in a run's output folder, if there is one.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read.
pub fn latest_checkpoint(output_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let mut latest: Option<(usize, PathBuf)> = None;
    for entry in std::fs::read_dir(output_dir).map_err(Error::read(output_dir))? {
        let path = entry.map_err(Error::read(output_dir))?.path();
        let steps = path.file_name().and_then(|name| name.to_str()).and_then(|name| {
            name.strip_prefix("checkpoint-").and_then(|steps| steps.parse::<usize>().ok())
        });
        if let Some(steps) = steps
            && latest.as_ref().is_none_or(|(most, _)| steps > *most)
        {
            latest = Some((steps, path));
        }
    }
    Ok(latest.map(|(_, path)| path))
}

/// Writes `checkpoint-STEPS` beside itself and renames it: a reader sees all of it or nothing.
pub(super) fn write(
    output_dir: &Path,
    manifest: &CheckpointManifest,
    steps: usize,
    record: &Record,
    optim: &ModuleOptimizer,
) -> Result<(), Error> {
    let target = output_dir.join(format!("checkpoint-{steps}"));
    let temporary = tempfile::Builder::new()
        .prefix(".checkpoint-")
        .tempdir_in(output_dir)
        .map_err(Error::write(output_dir))?;
    let dir = temporary.path();
    write_tensors(&dir.join(STATE), record)?;
    let path = dir.join(OPTIMIZER);
    optim.save(&path).map_err(|e| Error::checkpoint(&path, e))?;
    let written = Written { manifest: manifest.clone(), steps, state: record.meta.clone() };
    let path = dir.join(MANIFEST);
    let json = serde_json::to_vec_pretty(&written)
        .map_err(|source| Error::Serialize { path: path.clone(), source })?;
    std::fs::write(&path, json).map_err(Error::write(&path))?;
    if target.exists() {
        std::fs::remove_dir_all(&target).map_err(Error::write(&target))?;
    }
    std::fs::rename(temporary.keep(), &target).map_err(Error::write(&target))
}

/// Reads a checkpoint's record and puts the optimizer's state into `optim`.
pub(super) fn read(
    dir: &Path,
    expected: &CheckpointManifest,
    optim: ModuleOptimizer,
) -> Result<(Record, ModuleOptimizer), Error> {
    let path = dir.join(MANIFEST);
    let json = std::fs::read(&path).map_err(Error::read(&path))?;
    let written: Written =
        serde_json::from_slice(&json).map_err(|e| Error::checkpoint(&path, e))?;
    compare(&path, &written.manifest, expected)?;
    let tensors = read_tensors(&dir.join(STATE))?;
    let path = dir.join(OPTIMIZER);
    let optim = optim.load(&path).map_err(|e| Error::checkpoint(&path, e))?;
    Ok((Record { tensors, meta: written.state }, optim))
}

fn compare(
    path: &Path,
    found: &CheckpointManifest,
    expected: &CheckpointManifest,
) -> Result<(), Error> {
    let fields = |m: &CheckpointManifest| serde_json::to_value(m).unwrap_or_default();
    let (found, expected) = (fields(found), fields(expected));
    match first_difference("", &found, &expected) {
        None => Ok(()),
        Some((key, found, expected)) => Err(Error::checkpoint(
            path,
            format!("was written with `{key}` = {found}, but this run has {expected}"),
        )),
    }
}

fn first_difference(key: &str, a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
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

fn write_tensors(path: &Path, record: &Record) -> Result<(), Error> {
    let views = record.tensors.iter().map(|(name, data)| {
        let view = TensorView::new(dtype(data), data.shape().to_vec(), data.as_bytes());
        view.map(|view| (name, view)).map_err(|e| Error::checkpoint(path, format!("`{name}`: {e}")))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(|e| Error::checkpoint(path, e))
}

fn dtype(data: &TensorData) -> safetensors::Dtype {
    use burn::tensor::DType;
    match data.dtype() {
        DType::F16 => safetensors::Dtype::F16,
        DType::BF16 => safetensors::Dtype::BF16,
        DType::I64 => safetensors::Dtype::I64,
        _ => safetensors::Dtype::F32,
    }
}

fn read_tensors(path: &Path) -> Result<std::collections::BTreeMap<String, TensorData>, Error> {
    use burn::tensor::{Bytes, DType};
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::checkpoint(path, e))?;
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F16 => DType::F16,
            safetensors::Dtype::BF16 => DType::BF16,
            safetensors::Dtype::I64 => DType::I64,
            other => {
                return Err(Error::checkpoint(path, format!("`{name}` has type {other:?}")));
            }
        };
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        Ok((name, TensorData::from_bytes(bytes, view.shape().to_vec(), dtype)))
    });
    tensors.collect()
}
