//! The weights of a Hugging Face checkpoint in one hash, without reading all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::hash::hex;

/// A tensor is sampled in that many blocks of that many bytes; a smaller one is read whole.
const BLOCKS: u64 = 16;
const BLOCK: u64 = 512;
/// A longer header is none.
const MAX_HEADER: u64 = 100_000_000;

/// SHA-256 over every tensor in the order of their names: name, type, shape and samples.
pub(super) fn fingerprint(dir: &Path) -> Result<String, Error> {
    let mut tensors = BTreeMap::new();
    for path in files(dir)? {
        let (mut file, start, header) = open(&path)?;
        for (name, info) in header.tensors() {
            let samples = sample(&mut file, start, info).map_err(Error::read(&path))?;
            tensors.insert(name, (format!("{:?} {:?}", info.dtype, info.shape), samples));
        }
    }
    let mut hash = Sha256::new();
    for (name, (kind, samples)) in tensors {
        hash.update(format!("{name}\n{kind}\n"));
        hash.update(samples);
    }
    Ok(hex(&hash.finalize()))
}

/// The shards the index names, or the one file.
fn files(dir: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index = dir.join("model.safetensors.index.json");
    if !index.exists() {
        return Ok([dir.join("model.safetensors")].into());
    }
    let json = std::fs::read(&index).map_err(Error::read(&index))?;
    let Index { weight_map } = serde_json::from_slice(&json).map_err(|e| damaged(&index, e))?;
    Ok(weight_map.values().map(|shard| dir.join(shard)).collect())
}

/// An open safetensors file, where its data begins, and its header.
pub(super) fn open(path: &Path) -> Result<(File, u64, Metadata), Error> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(Error::read(path))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(damaged(path, format!("its header is said to have {length} bytes")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(Error::read(path))?;
    let header = serde_json::from_slice(&header).map_err(|e| damaged(path, e))?;
    Ok((file, 8 + length, header))
}

/// Blocks of the tensor, evenly spread, the first and the last bytes among them.
fn sample(file: &mut File, data: u64, info: &TensorInfo) -> std::io::Result<Vec<u8>> {
    let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    let length = end.saturating_sub(start);
    if length <= BLOCKS * BLOCK {
        return read_at(file, data + start, length);
    }
    let mut samples = Vec::with_capacity((BLOCKS * BLOCK) as usize);
    for block in 0..BLOCKS {
        let offset = (length - BLOCK) / (BLOCKS - 1) * block;
        let offset = if block == BLOCKS - 1 { length - BLOCK } else { offset };
        samples.extend(read_at(file, data + start + offset, BLOCK)?);
    }
    Ok(samples)
}

fn read_at(file: &mut File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(path: &Path, reason: impl ToString) -> Error {
    peft_llama::Error::Safetensors { path: path.into(), reason: reason.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
    use tempfile::TempDir;

    const LARGE: usize = 100_000;

    /// A checkpoint of `b` and a large `a`, whose bytes are `fill` but for the last.
    fn checkpoint(fill: u8, last: u8, shards: &[&[&str]]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut a = vec![fill; LARGE];
        a[LARGE - 1] = last;
        let view = |name: &str| match name {
            "a" => TensorView::new(Dtype::U8, vec![LARGE], &a).unwrap(),
            _ => TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap(),
        };
        let mut weight_map = BTreeMap::new();
        for (index, names) in shards.iter().enumerate() {
            let file = match shards.len() {
                1 => "model.safetensors".to_string(),
                _ => format!("{index}.safetensors"),
            };
            let views = names.iter().map(|name| (*name, view(name)));
            serialize_to_file(views, None, &dir.path().join(&file)).unwrap();
            weight_map.extend(names.iter().map(|name| (name.to_string(), file.clone())));
        }
        if shards.len() > 1 {
            let index = serde_json::json!({ "weight_map": weight_map }).to_string();
            std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        }
        dir
    }

    fn of(dir: &TempDir) -> String {
        fingerprint(dir.path()).unwrap()
    }

    #[test]
    fn weights_are_told_apart_and_sharding_does_not_matter() {
        let whole = of(&checkpoint(1, 1, &[&["a", "b"]]));
        assert_eq!(whole.len(), 64);
        assert_eq!(whole, of(&checkpoint(1, 1, &[&["a"], &["b"]])));
        assert_ne!(whole, of(&checkpoint(2, 1, &[&["a", "b"]])));
        assert_ne!(whole, of(&checkpoint(1, 2, &[&["a", "b"]])), "the last byte counts");
        assert_ne!(whole, of(&checkpoint(1, 1, &[&["a", "c"]])), "names count");
    }

    #[test]
    fn damaged_files_are_named() {
        let dir = checkpoint(1, 1, &[&["a", "b"]]);
        let path = dir.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let lying = [&u64::MAX.to_le_bytes(), &bytes[8..]].concat();
        let garbled = [&bytes[..8], &vec![b'!'; bytes.len() - 8]].concat();
        for broken in [&bytes[..4], &bytes[..bytes.len() / 2], &lying, &garbled] {
            std::fs::write(&path, broken).unwrap();
            let error = fingerprint(dir.path()).unwrap_err().to_string();
            assert!(error.contains("model.safetensors"), "{error}");
        }
        let dir = checkpoint(1, 1, &[&["a"], &["b"]]);
        std::fs::remove_file(dir.path().join("1.safetensors")).unwrap();
        let error = fingerprint(dir.path()).unwrap_err().to_string();
        assert!(error.contains("1.safetensors"), "{error}");
    }
}
