//! Which tensors the safetensors files of a checkpoint hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::store::burn_pack::Tensor;
use burn::store::{ModuleStore, SafetensorsStore, SafetensorsStoreError};

use super::{INDEX, WEIGHTS};
use crate::{Error, json::Object};

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, Stored>;

/// A tensor whose header has been read; its bytes are memory-mapped.
pub(super) struct Stored {
    pub file: PathBuf,
    pub tensor: Tensor,
}

/// The tensors of the checkpoint in `dir`, sharded or not.
pub(super) fn read(dir: &Path) -> Result<Tensors, Error> {
    let index = dir.join(INDEX);
    match index.exists() {
        true => read_sharded(dir, &index),
        false => read_file(&dir.join(WEIGHTS)),
    }
}

/// The tensors of one safetensors file.
fn read_file(path: &Path) -> Result<Tensors, Error> {
    let mut store = SafetensorsStore::from_file(path);
    let tensors = store.get_all_tensors().map_err(|error| match error {
        SafetensorsStoreError::Io(source) => Error::Io { path: path.into(), source },
        other => Error::Safetensors { path: path.into(), reason: other.to_string() },
    })?;
    let stored = |(name, tensor): (&String, &Tensor)| {
        (name.clone(), Stored { file: path.into(), tensor: tensor.clone() })
    };
    Ok(tensors.iter().map(stored).collect())
}

/// The tensors of all shards the index names, each in the shard it is said to be in.
fn read_sharded(dir: &Path, index: &Path) -> Result<Tensors, Error> {
    let json = Object::read(index)?;
    let expected = "tensor names, each with a file name in the same folder";
    let map: BTreeMap<String, String> = json.require("weight_map", expected)?;
    if map.values().any(|shard| Path::new(shard).file_name() != Some(shard.as_ref())) {
        return Err(json.refuse("weight_map", expected));
    }

    let mut shards = BTreeMap::new();
    let mut tensors = Tensors::new();
    for (name, shard) in &map {
        if !shards.contains_key(shard) {
            shards.insert(shard, read_shard(dir, index, name, shard)?);
        }
        let stored = shards.get_mut(shard).and_then(|shard| shard.remove(name));
        let stored = stored.ok_or_else(|| Error::NotInShard {
            index: index.into(),
            shard: shard.clone(),
            tensor: name.clone(),
        })?;
        tensors.insert(name.clone(), stored);
    }

    let left: BTreeSet<_> = shards.into_values().flat_map(Tensors::into_keys).collect();
    match left.is_empty() {
        true => Ok(tensors),
        false => {
            Err(Error::UnexpectedTensors { path: dir.into(), names: left.into_iter().collect() })
        }
    }
}

fn read_shard(dir: &Path, index: &Path, tensor: &str, shard: &str) -> Result<Tensors, Error> {
    let path = dir.join(shard);
    match path.exists() {
        true => read_file(&path),
        false => Err(Error::MissingShard {
            index: index.into(),
            shard: shard.into(),
            tensor: tensor.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::store::bridge;
    use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn write(dir: &TempDir, file: &str, names: &[&str]) {
        let view = || TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        let tensors: Vec<_> = names.iter().map(|name| (*name, view())).collect();
        serialize_to_file(tensors, None, &dir.path().join(file)).unwrap();
    }

    /// Two shards with `a`, `b` and `c`, and an index that says `weight_map`.
    fn sharded(weight_map: Value) -> TempDir {
        let dir = TempDir::new().unwrap();
        write(&dir, "1.safetensors", &["a", "b"]);
        write(&dir, "2.safetensors", &["c"]);
        write_index(&dir, weight_map);
        dir
    }

    fn write_index(dir: &TempDir, weight_map: Value) {
        let index = json!({"metadata": {"total_size": 12}, "weight_map": weight_map});
        std::fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
    }

    fn error(dir: &TempDir) -> String {
        let error = read(dir.path()).err().unwrap();
        assert!(error.hint().is_some());
        error.to_string()
    }

    #[test]
    fn shards_together_are_the_whole() {
        let (whole, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let values: Vec<[u8; 8]> = (0..4u8).map(|i| [i; 8]).collect();
        let view = |i: usize| TensorView::new(Dtype::BF16, vec![2, 2], &values[i]).unwrap();
        let names = ["a", "b", "c", "d"];
        let some = |range: std::ops::Range<usize>| range.map(|i| (names[i], view(i)));
        serialize_to_file(some(0..4), None, &whole.path().join(WEIGHTS)).unwrap();
        serialize_to_file(some(0..2), None, &dir.path().join("1.safetensors")).unwrap();
        serialize_to_file(some(2..4), None, &dir.path().join("2.safetensors")).unwrap();
        let shard = |i: usize| if i < 2 { "1.safetensors" } else { "2.safetensors" };
        let map: BTreeMap<_, _> = (0..4).map(|i| (names[i], shard(i))).collect();
        write_index(&dir, json!(map));

        let (whole, sharded) = (read(whole.path()).unwrap(), read(dir.path()).unwrap());
        assert_eq!(sharded.len(), whole.len());
        for (name, stored) in sharded {
            let want = bridge::to_data(&whole[&name].tensor).unwrap();
            assert_eq!(bridge::to_data(&stored.tensor).unwrap(), want);
        }
    }

    #[test]
    fn an_index_at_odds_with_its_shards_is_refused() {
        let (one, two) = ("1.safetensors", "2.safetensors");
        let cases = [
            (
                json!({"a": one, "b": one, "c": "3.safetensors"}),
                "`c` is said to be in `3.safetensors`, which is absent",
            ),
            (
                json!({"a": one, "b": two, "c": two}),
                "`b` is said to be in `2.safetensors`, which lacks",
            ),
            (json!({"a": one, "c": two}), "unexpected tensor `b`"),
            (json!({"a": "../1.safetensors"}), "`weight_map` is "),
            (json!({"a": 1}), "`weight_map` is "),
            (Value::Null, "`weight_map` is null"),
        ];
        for (weight_map, problem) in cases {
            let message = error(&sharded(weight_map));
            assert!(message.contains(problem), "{message}");
        }
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let dir = TempDir::new().unwrap();
        write(&dir, WEIGHTS, &["a", "b"]);
        let path = dir.path().join(WEIGHTS);
        let good = std::fs::read(&path).unwrap();
        let mut long_header = good.clone();
        long_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut longer_than_file = good.clone();
        longer_than_file[..8].copy_from_slice(&(good.len() as u64).to_le_bytes());
        let mut not_json = good.clone();
        not_json[8] = b'x';
        let damaged =
            [&good[..good.len() - 1], &good[..4], &[], &long_header, &longer_than_file, &not_json];
        for bytes in damaged {
            std::fs::write(&path, bytes).unwrap();
            let message = error(&dir);
            assert!(message.contains("model.safetensors: not a complete safetensors"), "{message}");
        }
    }

    #[test]
    fn no_weights_at_all() {
        assert!(error(&TempDir::new().unwrap()).contains("model.safetensors: "));
    }
}
