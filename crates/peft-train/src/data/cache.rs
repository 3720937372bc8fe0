//! Tokenized datasets kept on disk.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use sha2::{Digest, Sha256};

use super::sample::IGNORE_INDEX;
use super::{DataFormat, Sample, Tokenized};
use crate::Error;
use crate::hash::{add_file, hex};
use crate::report::write_atomic;

/// Counts up with every change of what is kept, or of how samples are made.
const VERSION: &str = "2";

/// A dataset as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub tokenized: Tokenized,
    pub format: DataFormat,
    /// Malformed objects left out.
    pub skipped: usize,
}

/// A hash over everything that samples are made from.
pub(super) struct Key(Sha256);

impl Key {
    pub fn new() -> Self {
        let mut key = Self(Sha256::new());
        key.add(VERSION.as_bytes());
        key
    }

    /// Adds `bytes`, and their length, so that parts cannot run into each other.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds the content of a file.
    pub fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let length = add_file(&mut self.0, path)?;
        self.0.update(length.to_le_bytes());
        Ok(())
    }

    /// The hash in hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The entry in the file at `path`; `None` where it is not there, damaged, or of another version.
pub(super) fn load(path: &Path) -> Option<Entry> {
    let bytes = std::fs::read(path).ok()?;
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    let metadata = header.metadata().as_ref()?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let tensor = |name| Some(file.tensor(name).ok()?.data());
    let (ids, learnt, lengths) = (tensor("ids")?, tensor("learnt")?, tensor("lengths")?);
    if *metadata.get("sha256")? != checksum([ids, learnt, lengths]) {
        return None;
    }
    let number = |key: &str| metadata.get(key)?.parse().ok();
    Some(Entry {
        tokenized: Tokenized {
            samples: samples(&numbers(ids), learnt, &numbers(lengths))?,
            truncated: number("truncated")?,
            dropped: number("dropped")?,
        },
        format: serde_json::from_value(metadata.get("format")?.as_str().into()).ok()?,
        skipped: number("skipped")?,
    })
}

/// Writes `entry` to the file at `path`, whole or not at all.
pub(super) fn store(path: &Path, entry: &Entry) -> Result<(), Error> {
    let samples = &entry.tokenized.samples;
    let ids: Vec<u8> =
        samples.iter().flat_map(|s| &s.input_ids).flat_map(|id| id.to_le_bytes()).collect();
    let labels = samples.iter().flat_map(|s| &s.labels);
    let learnt: Vec<u8> = labels.map(|label| u8::from(*label != IGNORE_INDEX)).collect();
    let lengths = samples.iter().map(|s| s.input_ids.len() as u32);
    let lengths: Vec<u8> = lengths.flat_map(u32::to_le_bytes).collect();
    let metadata = HashMap::from([
        ("format".to_string(), entry.format.to_string()),
        ("skipped".to_string(), entry.skipped.to_string()),
        ("truncated".to_string(), entry.tokenized.truncated.to_string()),
        ("dropped".to_string(), entry.tokenized.dropped.to_string()),
        ("sha256".to_string(), checksum([&ids, &learnt, &lengths])),
    ]);
    let bytes = serialize(&ids, &learnt, &lengths, metadata).map_err(|e| Error::Io {
        action: "write",
        path: path.into(),
        source: std::io::Error::other(e),
    })?;
    write_atomic(path, &bytes)
}

fn serialize(
    ids: &[u8],
    learnt: &[u8],
    lengths: &[u8],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, SafeTensorError> {
    let views = [
        ("ids", TensorView::new(Dtype::U32, vec![ids.len() / 4], ids)?),
        ("learnt", TensorView::new(Dtype::U8, vec![learnt.len()], learnt)?),
        ("lengths", TensorView::new(Dtype::U32, vec![lengths.len() / 4], lengths)?),
    ];
    safetensors::serialize(views, Some(metadata))
}

fn checksum(parts: [&[u8]; 3]) -> String {
    let mut key = Key::new();
    parts.into_iter().for_each(|part| key.add(part));
    key.finish()
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()
}

fn samples(mut ids: &[u32], mut learnt: &[u8], lengths: &[u32]) -> Option<Vec<Sample>> {
    let mut sample = |&length: &u32| {
        let (head, tail) = ids.split_at_checked(length as usize)?;
        let (flags, others) = learnt.split_at_checked(length as usize)?;
        (ids, learnt) = (tail, others);
        Some(Sample::masked(head.to_vec(), flags.iter().map(|flag| *flag != 0)))
    };
    let samples: Option<Vec<Sample>> = lengths.iter().map(&mut sample).collect();
    samples.filter(|samples| !samples.is_empty() && ids.is_empty() && learnt.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let sample =
            |ids: &[u32], learnt: &[bool]| Sample::masked(ids.to_vec(), learnt.iter().copied());
        let samples =
            vec![sample(&[1, 5, 2], &[false, true, true]), sample(&[7, 8], &[true, true])];
        let tokenized = Tokenized { samples, truncated: 3, dropped: 4 };
        Entry { tokenized, format: DataFormat::PromptCompletion, skipped: 5 }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("entry");
        assert_eq!(load(&path), None);
        store(&path, &entry()).unwrap();
        assert_eq!(load(&path), Some(entry()));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn any_damage_makes_an_entry_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("entry");
        store(&path, &entry()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let tensors = bytes.len() - (5 * 4 + 5 + 2 * 4);
        for at in tensors..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(load(&path), None, "byte {at}");
        }
        for end in [0, 7, tensors, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert_eq!(load(&path), None, "cut at {end}");
        }
    }

    #[test]
    fn keys_tell_apart_what_they_are_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "ab").unwrap();
        let key = |parts: &[&str]| {
            let mut key = Key::new();
            parts.iter().for_each(|part| key.add(part.as_bytes()));
            key.add_file(&file).unwrap();
            key.finish()
        };
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        let before = key(&[]);
        std::fs::write(&file, "ac").unwrap();
        assert_ne!(key(&[]), before);
        assert!(Key::new().add_file(Path::new("/nowhere")).is_err());
    }
}
