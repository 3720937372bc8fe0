//! Reading a checkpoint, and finding the newest that is whole.

use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use burn::tensor::DType;
use peft_core::Record;

use super::folder::list;
use super::manifest::{CheckpointManifest, Progress};
use super::{OPTIMIZER, STATE, STATE_META, tensors};
use crate::Error;
use crate::run::identity::RunIdentity;

/// The newest checkpoint of an output folder that is whole.
#[derive(Debug, Default)]
pub struct LatestCheckpoint {
    /// Its folder; `None` if the output folder holds no whole one, or does not exist.
    pub path: Option<PathBuf>,
    /// Newer ones that are damaged or were never finished, the newest first, and why.
    pub passed_over: Vec<Error>,
}

/// Finds the newest checkpoint in `output_dir` whose files are all what its manifest says. Every
/// file of the candidates is read once. Nothing is changed: what a killed process had moved away to
/// replace it is put back when the run goes on.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read.
pub fn latest_checkpoint(output_dir: &Path) -> Result<LatestCheckpoint, Error> {
    let mut latest = LatestCheckpoint::default();
    if !output_dir.exists() {
        return Ok(latest);
    }
    for (_, path) in list(output_dir)?.into_iter().rev() {
        match CheckpointManifest::read(&path).and_then(|manifest| manifest.verify(&path)) {
            Ok(()) => {
                latest.path = Some(path);
                break;
            }
            Err(error) => latest.passed_over.push(error),
        }
    }
    Ok(latest)
}

/// What a checkpoint gives back.
pub(in crate::run) struct Restored {
    pub record: Record,
    pub optim: ModuleOptimizer,
    pub progress: Progress,
}

/// Reads the checkpoint in `dir`, which must be whole and belong to the run `expected`, and puts
/// the optimizer's state into `optim`.
pub(in crate::run) fn read(
    dir: &Path,
    expected: &RunIdentity,
    optim: ModuleOptimizer,
) -> Result<Restored, Error> {
    let manifest = CheckpointManifest::read(dir)?;
    manifest.check_run(dir, expected)?;
    manifest.verify(dir)?;
    let record = read_record(dir)?;
    let path = dir.join(OPTIMIZER);
    let optim = optim.load(&path).map_err(|e| Error::checkpoint(&path, e))?;
    Ok(Restored { record, optim, progress: manifest.progress })
}

/// What the method recorded in the checkpoint in `dir`, which must be whole.
pub(crate) fn read_record(dir: &Path) -> Result<Record, Error> {
    let path = dir.join(STATE_META);
    let json = std::fs::read(&path).map_err(Error::read(&path))?;
    let meta = serde_json::from_slice(&json).map_err(|e| Error::checkpoint(&path, e))?;
    Ok(Record { tensors: tensors::read(&dir.join(STATE))?, meta })
}

/// Names, shapes and types of the tensors in the checkpoint in `dir`, without their values.
pub(crate) fn stored_tensors(dir: &Path) -> Result<Vec<(String, Vec<usize>, DType)>, Error> {
    tensors::headers(&dir.join(STATE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::LossScale;
    use crate::run::checkpoint::write;
    use burn::optim::AdamWConfig;
    use serde_json::json;

    fn identity(seed: u64) -> RunIdentity {
        RunIdentity {
            method: "lora".into(),
            config: json!({ "run": { "seed": seed, "rate": 0.30000000000000004 } }),
            samples: 2,
            data: "d1".into(),
            dtype: "F32".into(),
            base: None,
        }
    }

    fn optim() -> ModuleOptimizer {
        AdamWConfig::new().init()
    }

    fn progress(steps: usize) -> Progress {
        let loss_scale = Some(LossScale { factor: 256.0, steps: 5 });
        Progress { steps, skipped_steps: 3, loss_scale }
    }

    fn write_at(dir: &Path, steps: usize) -> PathBuf {
        let mut record = Record::default();
        record.tensors.insert("a".into(), burn::tensor::TensorData::from([steps as f32]));
        record.meta.insert("steps".into(), steps.into());
        write(dir, &identity(1), progress(steps), &record, &optim()).unwrap()
    }

    fn try_read(path: &Path, seed: u64) -> Result<Restored, Error> {
        read(path, &identity(seed), optim())
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_at(dir.path(), 7);
        assert_eq!(path, write_at(dir.path(), 7), "an older one is replaced");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing temporary is left");
        let Restored { record, progress: found, .. } = try_read(&path, 1).unwrap();
        assert_eq!(record.tensors["a"].iter::<f32>().collect::<Vec<_>>(), [7.0]);
        assert_eq!((record.meta["steps"].as_u64(), found), (Some(7), progress(7)));
    }

    #[test]
    fn another_run_is_refused_with_both_values() {
        let dir = tempfile::tempdir().unwrap();
        let error = try_read(&write_at(dir.path(), 7), 2).err().unwrap().to_string();
        assert!(error.contains("`seed` = 1, but this run has 2"), "{error}");
    }

    /// Every single damage is noticed, whatever file it is in.
    #[test]
    fn the_newest_whole_checkpoint_is_found() {
        let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
        let names = [STATE, STATE_META, OPTIMIZER, "manifest.json", "manifest.sha256"];
        for name in names {
            for damage in [&flip as &dyn Fn(&mut Vec<u8>), &cut] {
                let dir = tempfile::tempdir().unwrap();
                let [old, new] = [7, 12].map(|steps| write_at(dir.path(), steps));
                assert_eq!(latest_checkpoint(dir.path()).unwrap().path.as_ref(), Some(&new));
                let file = new.join(name);
                let mut bytes = std::fs::read(&file).unwrap();
                damage(&mut bytes);
                std::fs::write(&file, bytes).unwrap();
                check_passed_over(dir.path(), &old, &new, name);
                std::fs::remove_file(&file).unwrap();
                check_passed_over(dir.path(), &old, &new, name);
            }
        }
    }

    fn check_passed_over(dir: &Path, old: &Path, new: &Path, file: &str) {
        let latest = latest_checkpoint(dir).unwrap();
        assert_eq!(latest.path.as_deref(), Some(old), "{file}");
        let [reason] = &latest.passed_over[..] else { panic!("{latest:?}") };
        assert!(reason.to_string().contains("manifest") || reason.to_string().contains(file));
        // Named, it is an error.
        let error = try_read(new, 1).err().unwrap();
        assert_eq!(error.to_string(), reason.to_string());
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_folder_without_a_whole_checkpoint_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(latest_checkpoint(&dir.path().join("nowhere")).unwrap().path.is_none());
        std::fs::create_dir(dir.path().join("checkpoint-3")).unwrap();
        let latest = latest_checkpoint(dir.path()).unwrap();
        assert!(latest.path.is_none());
        assert!(latest.passed_over[0].to_string().contains("never finished"));
    }

    #[test]
    fn files_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_at(dir.path(), 7);
        for name in ["/etc/hostname", "../other", "", ".."] {
            let mut manifest = CheckpointManifest::read(&path).unwrap();
            let digest = manifest.files[STATE].clone();
            manifest.files.insert(name.into(), digest);
            manifest.write(&path).unwrap();
            let error = try_read(&path, 1).err().unwrap().to_string();
            assert!(error.contains(&format!("manifest.json: lists `{name}`")), "{error}");
            manifest.files.remove(name);
            manifest.write(&path).unwrap();
        }
    }

    #[test]
    fn a_manifest_must_list_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_at(dir.path(), 7);
        let all = CheckpointManifest::read(&path).unwrap();
        for name in [STATE, STATE_META, OPTIMIZER] {
            let mut manifest = all.clone();
            manifest.files.remove(name);
            manifest.write(&path).unwrap();
            let error = try_read(&path, 1).err().unwrap().to_string();
            assert!(error.ends_with(&format!("manifest.json: lists no `{name}`")), "{error}");
        }
    }

    #[test]
    fn tensors_are_told_without_their_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_at(dir.path(), 7);
        assert_eq!(stored_tensors(&path).unwrap(), [("a".to_string(), vec![1], DType::F32)]);
    }

    #[test]
    fn another_layout_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = write_at(dir.path(), 7);
        let mut manifest = CheckpointManifest::read(&path).unwrap();
        manifest.format = 9;
        manifest.write(&path).unwrap();
        let error = try_read(&path, 1).err().unwrap().to_string();
        assert!(error.contains("has format 9, and this release reads 1"), "{error}");
    }
}
