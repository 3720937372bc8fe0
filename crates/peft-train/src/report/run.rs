//! `run.json`: what a run was and what came of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DataReport, write_atomic};
use crate::Error;

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The program's version.
    pub version: String,
    /// Burn's.
    #[serde(default)]
    pub burn_version: Option<String>,
    /// The resolved configuration.
    pub config: Value,
    /// The device, as Burn names it.
    pub device: String,
    /// The element type of the model's weights.
    pub dtype: String,
    /// Where the run stands.
    pub status: RunStatus,
    /// Why it failed, if it did.
    #[serde(default)]
    pub error: Option<String>,
    /// What may not be meant, and what went wrong without stopping the run.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Optimizer steps taken, those before a resume included.
    pub steps: usize,
    /// Steps skipped because their loss or gradients were not finite, likewise.
    #[serde(default)]
    pub skipped_steps: usize,
    /// Wall time of the training since it was last started or resumed, in seconds; a resume that
    /// finds nothing left to train on does not count.
    pub seconds: f64,
    /// Real (unpadded) training tokens per second.
    pub tokens_per_second: f64,
    /// The process's largest resident size ([`peak_memory_bytes`](super::peak_memory_bytes)).
    pub peak_memory_bytes: Option<u64>,
    /// What the first device's allocator holds ([`device_memory_bytes`](super::device_memory_bytes)).
    #[serde(default)]
    pub device_memory_bytes: Option<u64>,
    /// Parameters trained at a time.
    pub trainable_parameters: usize,
    /// All parameters of the model, adapters not counted.
    pub total_parameters: usize,
    /// The checkpoint a resume would go on from, if there is one.
    #[serde(default)]
    pub checkpoint: Option<PathBuf>,
    /// The lowest validation loss, in nats per target token, if there was a validation.
    #[serde(default)]
    pub best_eval_loss: Option<f64>,
    /// The checkpoint with that loss, if it was written.
    #[serde(default)]
    pub best_checkpoint: Option<PathBuf>,
    /// What was trained and measured on, where the run was made of a configuration.
    #[serde(default)]
    pub data: Option<DataReport>,
    /// Scores on the evaluation set before training, if they were taken.
    pub before: Option<Scores>,
    /// Scores on the evaluation set after training, if they were taken.
    pub after: Option<Scores>,
    /// Scores before and after training on tasks that were not trained, if they were taken: what
    /// was forgotten.
    #[serde(default)]
    pub known: Option<[Scores; 2]>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It is at work, or its process was killed; then it can be resumed.
    Running,
    /// All its steps were taken, or it stopped early, as it was set to.
    Completed,
    /// Stopped by the user; it can be resumed.
    Interrupted,
    /// Stopped by an error.
    Failed,
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of items answered rightly, from 0 to 1, where the items have a right answer.
    pub accuracy: Option<f64>,
    /// Mean loss per target token, in nats; `None` where it is not finite, which JSON cannot say.
    pub loss: Option<f64>,
    /// Items evaluated.
    pub items: usize,
}

impl Scores {
    /// What is to be noted of scores taken `when`, such as `after training`.
    pub(crate) fn note(&self, when: &str) -> Option<String> {
        self.loss.is_none().then(|| format!("the loss on what was held back is not finite {when}"))
    }
}

impl RunReport {
    /// The file's name in the output folder.
    pub const FILE_NAME: &str = "run.json";

    /// Reads the report in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::BadReport`] if the file is none.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(Self::FILE_NAME);
        let json = std::fs::read(&path).map_err(Error::read(&path))?;
        serde_json::from_slice(&json).map_err(|source| Error::BadReport { path, source })
    }

    /// Writes the report into the folder `dir`, in place of an older one: a reader sees the old
    /// report or the new one, never a part.
    ///
    /// # Errors
    /// [`Error::Io`], which names the file.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(Self::FILE_NAME);
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Serialize { path: path.clone(), source })?;
        json.push(b'\n');
        write_atomic(&path, &json)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::report::data;

    fn report() -> RunReport {
        RunReport {
            version: "0.1.0".into(),
            burn_version: Some("0.22.1".into()),
            config: json!({"method": "losia-pro"}),
            device: "Flex".into(),
            dtype: "f32".into(),
            status: RunStatus::Interrupted,
            error: None,
            notes: vec!["1 left out as malformed".into()],
            steps: 120,
            skipped_steps: 1,
            seconds: 1.5,
            tokens_per_second: 2048.0,
            peak_memory_bytes: None,
            device_memory_bytes: Some(4096),
            trainable_parameters: 10,
            total_parameters: 1000,
            checkpoint: Some("out/checkpoint-120".into()),
            best_eval_loss: Some(2.25),
            best_checkpoint: None,
            data: Some(data::tests::report()),
            before: Some(Scores { accuracy: None, loss: Some(2.5), items: 8 }),
            after: None,
            known: None,
        }
    }

    #[test]
    fn the_keys_are_stable() {
        let expected = json!({
            "version": "0.1.0",
            "burn_version": "0.22.1",
            "config": {"method": "losia-pro"},
            "device": "Flex",
            "dtype": "f32",
            "status": "interrupted",
            "error": null,
            "notes": ["1 left out as malformed"],
            "steps": 120,
            "skipped_steps": 1,
            "seconds": 1.5,
            "tokens_per_second": 2048.0,
            "peak_memory_bytes": null,
            "device_memory_bytes": 4096,
            "trainable_parameters": 10,
            "total_parameters": 1000,
            "checkpoint": "out/checkpoint-120",
            "best_eval_loss": 2.25,
            "best_checkpoint": null,
            "data": {
                "train_samples": 90,
                "valid_samples": 8,
                "valid_sha256": "e3",
                "datasets": [{
                    "path": "data.jsonl", "samples": 98, "tokens": 4000,
                    "truncated": 2, "dropped": 0, "skipped": 1,
                }],
            },
            "before": {"accuracy": null, "loss": 2.5, "items": 8},
            "after": null,
            "known": null,
        });
        assert_eq!(serde_json::to_value(report()).unwrap(), expected);
    }

    #[test]
    fn a_written_report_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        report().write(folder.path()).unwrap();
        assert_eq!(RunReport::read(folder.path()).unwrap(), report());
    }

    #[test]
    fn a_loss_that_is_not_finite_reads_back_and_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let after = Scores { accuracy: None, loss: None, items: 8 };
        RunReport { after: Some(after), ..report() }.write(folder.path()).unwrap();
        assert_eq!(RunReport::read(folder.path()).unwrap().after, Some(after));
        let note = after.note("after training").unwrap();
        assert_eq!(note, "the loss on what was held back is not finite after training");
        assert_eq!(report().before.unwrap().note("before training"), None);
    }

    #[test]
    fn what_is_no_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(RunReport::FILE_NAME), "{}").unwrap();
        let error = RunReport::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("run.json` is no report"), "{error}");
        assert!(
            RunReport::read(Path::new("/nowhere")).unwrap_err().to_string().contains("run.json")
        );
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let error = report().write(Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().contains("`/nowhere/run.json`"), "{error}");
    }
}
