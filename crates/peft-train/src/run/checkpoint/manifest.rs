//! `manifest.json`: what a checkpoint belongs to, and how its files must read.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FILES;
use crate::Error;
use crate::hash::{add_file, hex};
use crate::run::identity::{BaseIdentity, RunIdentity};
use crate::run::loss_scale::LossScale;

const MANIFEST: &str = "manifest.json";
const CHECKSUM: &str = "manifest.sha256";
/// Layout of the folder that this release writes and reads.
const FORMAT: u32 = 1;

/// What a checkpoint is: how far its run was, what it belongs to, and how its files must read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// Layout of the folder; 1.
    pub format: u32,
    /// How far the run was.
    #[serde(flatten)]
    pub progress: Progress,
    /// The run it belongs to.
    pub run: RunIdentity,
    /// The other files of the folder.
    pub files: BTreeMap<String, FileDigest>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps taken.
    pub steps: usize,
    /// Steps skipped, because their loss or gradients were not finite.
    pub skipped_steps: usize,
    /// What the next loss is multiplied by, in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
}

impl Progress {
    /// Optimizer steps the data was consumed for, taken or skipped.
    pub fn windows(&self) -> usize {
        self.steps + self.skipped_steps
    }
}

/// How a file must read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its length, in bytes.
    pub size: u64,
    /// SHA-256 of its content, 64 hexadecimal digits.
    pub sha256: String,
}

impl FileDigest {
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let mut hash = Sha256::new();
        let size = add_file(&mut hash, path)?;
        Ok(Self { size, sha256: hex(&hash.finalize()) })
    }
}

impl CheckpointManifest {
    pub(super) fn new(progress: Progress, run: RunIdentity) -> Self {
        Self { format: FORMAT, progress, run, files: BTreeMap::new() }
    }

    /// Reads the manifest of the checkpoint in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the checkpoint was never finished, if the manifest is damaged or
    /// lists files elsewhere, or if another release wrote it.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        std::fs::metadata(dir).map_err(Error::read(dir))?;
        let (path, checksum) = (dir.join(MANIFEST), dir.join(CHECKSUM));
        let json = read_existing(&path)?;
        if read_existing(&checksum)? != checksum_of(&json).as_bytes() {
            return Err(Error::checkpoint(&path, "does not fit `manifest.sha256`: it is damaged"));
        }
        let damaged = |e: serde_json::Error| Error::checkpoint(&path, e);
        let Format { format } = serde_json::from_slice(&json).map_err(damaged)?;
        if format != FORMAT {
            let reason = format!("has format {format}, and this release reads {FORMAT}");
            return Err(Error::checkpoint(&path, reason));
        }
        let manifest: Self = serde_json::from_slice(&json).map_err(damaged)?;
        let elsewhere = |name: &&String| Path::new(name).file_name() != Some(name.as_ref());
        match manifest.files.keys().find(elsewhere) {
            None => Ok(manifest),
            Some(name) => {
                let reason = format!("lists `{name}`, which is no name of a file in its folder");
                Err(Error::checkpoint(&path, reason))
            }
        }
    }

    /// Whether the folder `dir` is a checkpoint, be it in order or not.
    pub(crate) fn exists_in(dir: &Path) -> bool {
        dir.join(MANIFEST).exists()
    }

    /// Checks that all files of a checkpoint are listed, and size and hash of each.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with the first file that is not listed, missing or damaged.
    pub fn verify(&self, dir: &Path) -> Result<(), Error> {
        if let Some(name) = FILES.into_iter().find(|name| !self.files.contains_key(*name)) {
            return Err(Error::checkpoint(&dir.join(MANIFEST), format!("lists no `{name}`")));
        }
        for (name, expected) in &self.files {
            let path = dir.join(name);
            let found = FileDigest::of(&path).map_err(missing(&path, "is missing"))?;
            if found.size != expected.size {
                let (found, expected) = (found.size, expected.size);
                let reason = format!("is damaged: it has {found} bytes, expected {expected}");
                return Err(Error::checkpoint(&path, reason));
            }
            if found.sha256 != expected.sha256 {
                let (found, expected) = (found.sha256, &expected.sha256);
                let reason = format!("is damaged: its SHA-256 is {found}, expected {expected}");
                return Err(Error::checkpoint(&path, reason));
            }
        }
        Ok(())
    }

    /// Refuses the checkpoint, in the folder `dir`, unless it belongs to the run `expected`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with the first difference.
    pub(crate) fn check_run(&self, dir: &Path, expected: &RunIdentity) -> Result<(), Error> {
        match self.run.difference(expected) {
            None => Ok(()),
            Some(difference) => Err(Error::checkpoint(dir, difference)),
        }
    }

    /// Refuses the base model in the folder `base` unless it is the one the run was started with, as
    /// far as the checkpoint, in the folder `dir`, knows it.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with what differs; what [`BaseIdentity::of`] refuses.
    pub(crate) fn check_base(&self, dir: &Path, base: &Path) -> Result<(), Error> {
        let Some(expected) = &self.run.base else { return Ok(()) };
        let found = BaseIdentity::of(base)?;
        match expected.difference(&found) {
            None => Ok(()),
            Some(part) => {
                let base = base.display();
                let reason = format!("belongs to another base than `{base}`: other {part}");
                Err(Error::checkpoint(dir, reason))
            }
        }
    }

    /// Finishes the checkpoint in `dir`, whose other files are listed already.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let (path, checksum) = (dir.join(MANIFEST), dir.join(CHECKSUM));
        let json = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Serialize { path: path.clone(), source })?;
        std::fs::write(&path, &json).map_err(Error::write(&path))?;
        std::fs::write(&checksum, checksum_of(&json)).map_err(Error::write(&checksum))
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn read_existing(path: &Path) -> Result<Vec<u8>, Error> {
    let reason = "is missing: the checkpoint was never finished";
    std::fs::read(path).map_err(Error::read(path)).map_err(missing(path, reason))
}

/// Makes a file that does not exist the checkpoint's fault instead of the system's.
fn missing(path: &Path, reason: &'static str) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            Error::checkpoint(path, reason)
        }
        other => other,
    }
}

/// The line that `sha256sum --check` takes.
fn checksum_of(manifest: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", hex(&Sha256::digest(manifest)))
}
