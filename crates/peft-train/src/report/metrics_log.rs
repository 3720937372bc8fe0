//! `metrics.jsonl`: one JSON object per logged step.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The writer of `metrics.jsonl`. Every object has an unsigned integer `windows`, the optimizer
/// steps taken or skipped when it was written, which never decreases.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

/// A log that a resumed run goes on with.
#[derive(Debug)]
pub struct ResumedLog {
    /// The log.
    pub log: MetricsLog,
    /// The validations in it, in order.
    pub evaluations: Vec<LoggedEvaluation>,
    /// The damaged line that ended it, if one did: an [`Error::BadMetricsLine`].
    pub damaged: Option<Error>,
}

/// A validation as it was logged.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LoggedEvaluation {
    /// Steps taken before it.
    pub step: usize,
    /// Steps taken or skipped before it.
    pub windows: usize,
    /// Mean loss per target token, in nats; `None` where it was not finite.
    pub eval_loss: Option<f64>,
    /// SHA-256 of what it was on, as `run.json` has it.
    pub valid_sha256: String,
}

impl MetricsLog {
    /// The file's name in the output folder.
    pub const FILE_NAME: &str = "metrics.jsonl";

    /// Starts an empty log in the folder `dir`, in place of an older one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(Self::FILE_NAME);
        let file = File::create(&path).map_err(Error::write(&path))?;
        Ok(Self { path, file })
    }

    /// Goes on with the log in the folder `dir`, or starts one if there is none. Lines of a later
    /// state than after `windows` steps, taken or skipped, which the resumed run will write again,
    /// are removed, and so is a last line that a crash left unfinished. A line before these that is
    /// damaged, as by a loss of power, ends the log, too.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn resume(dir: &Path, windows: u64) -> Result<ResumedLog, Error> {
        let path = dir.join(Self::FILE_NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(Error::write(&path))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(Error::read(&path))?;

        let (length, damaged) = length_until(&content, windows, &path);
        let lines = content[..length].split(|byte| *byte == b'\n');
        let evaluations = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        file.set_len(length as u64).map_err(Error::write(&path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::write(&path))?;
        Ok(ResumedLog { log: Self { path, file }, evaluations, damaged })
    }

    /// Appends `record` as one line, handed to the operating system at once. Numbers that are not
    /// finite become `null`.
    ///
    /// # Errors
    /// [`Error::Serialize`] or [`Error::Io`].
    pub fn write(&mut self, record: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(record)
            .map_err(|source| Error::Serialize { path: self.path.clone(), source })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::write(&self.path))
    }

    /// Waits until all that was written is on the disk, if the log is on one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        match self.file.sync_data() {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()), // a pipe or a device
            result => result.map_err(Error::write(&self.path)),
        }
    }
}

/// What every line has.
#[derive(Deserialize)]
struct Stamp {
    #[serde(rename = "step")]
    _step: u64,
    windows: u64,
}

/// The bytes of the finished lines written after at most `windows` windows, and the damaged line that
/// ends them, if one does.
fn length_until(content: &[u8], windows: u64, path: &Path) -> (usize, Option<Error>) {
    let mut length = 0;
    let lines = content.split_inclusive(|byte| *byte == b'\n');
    for (index, line) in lines.filter(|line| line.ends_with(b"\n")).enumerate() {
        match serde_json::from_slice(line) {
            Ok(Stamp { windows: at, .. }) if at > windows => break,
            Ok(_) => length += line.len(),
            Err(source) => {
                let (path, line) = (path.to_owned(), index + 1);
                return (length, Some(Error::BadMetricsLine { path, line, source }));
            }
        }
    }
    (length, None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn folder(content: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MetricsLog::FILE_NAME), content).unwrap();
        folder
    }

    fn content(folder: &TempDir) -> String {
        fs::read_to_string(folder.path().join(MetricsLog::FILE_NAME)).unwrap()
    }

    #[test]
    fn a_new_log_replaces_the_old_and_holds_one_object_per_line() {
        let folder = folder("{\"step\":9}\n");
        let mut log = MetricsLog::create(folder.path()).unwrap();
        log.write(&json!({"step": 1, "loss": 0.5})).unwrap();
        log.write(&json!({"step": 2, "loss": f64::NAN})).unwrap();
        // The log is still open: its lines are there at once.
        assert_eq!(content(&folder), "{\"loss\":0.5,\"step\":1}\n{\"loss\":null,\"step\":2}\n");
    }

    /// Lines after so many windows.
    fn lines(windows: &[u64]) -> String {
        windows.iter().map(|at| format!("{{\"step\":{at},\"windows\":{at}}}\n")).collect()
    }

    #[test]
    fn a_resumed_log_goes_on_after_the_windows() {
        let one = lines(&[1]);
        let cases = [
            (lines(&[1, 2, 3]), &*one),
            (lines(&[1, 1]), &lines(&[1, 1])),
            // Unfinished, though it would parse: its number may have lost digits.
            (format!("{one}{}", one.trim_end()), &one),
            (one.trim_end().into(), ""),
            (lines(&[5]), ""),
            // What is damaged beyond the windows does not matter.
            (format!("{}not JSON\n", lines(&[1, 2])), &one),
            (String::new(), ""),
        ];
        for (before, kept) in cases {
            let folder = folder(&before);
            let ResumedLog { mut log, damaged, .. } = MetricsLog::resume(folder.path(), 1).unwrap();
            assert!(damaged.is_none(), "{damaged:?}");
            log.write(&json!({"windows": 2})).unwrap();
            assert_eq!(content(&folder), format!("{kept}{{\"windows\":2}}\n"), "{before}");
        }
    }

    #[test]
    fn a_resumed_log_knows_its_validations() {
        let line = |step: usize, loss| json!({ "step": step, "windows": step + 1, "eval_loss": loss, "valid_sha256": "e3" });
        let step = json!({ "step": 2, "windows": 3, "loss": 1.0 });
        let all = [line(1, Some(2.5)), step, line(3, None), line(5, Some(2.0))];
        let all = all.iter().map(|line| format!("{line}\n"));
        let folder = folder(&all.collect::<String>());
        let found = MetricsLog::resume(folder.path(), 5).unwrap().evaluations;
        let evaluation = |step, eval_loss| LoggedEvaluation {
            step,
            windows: step + 1,
            eval_loss,
            valid_sha256: "e3".into(),
        };
        assert_eq!(found, [evaluation(1, Some(2.5)), evaluation(3, None)]);
    }

    #[test]
    fn a_run_resumed_in_a_new_folder_starts_its_log() {
        let folder = tempfile::tempdir().unwrap();
        MetricsLog::resume(folder.path(), 7).unwrap();
        assert_eq!(content(&folder), "");
    }

    #[test]
    fn a_damaged_line_ends_the_log_and_is_named() {
        let bad =
            ["{\"step\":1}", "{\"windows\":1}", "not JSON", "{\"step\":1,\"windows\":-1}", "\0\0"];
        for bad in bad {
            let folder = folder(&format!("{}{bad}\n{}", lines(&[1]), lines(&[3])));
            let damaged = MetricsLog::resume(folder.path(), 3).unwrap().damaged;
            let damaged = damaged.unwrap().to_string();
            assert!(damaged.contains("metrics.jsonl:2: expected"), "{damaged}");
            assert_eq!(content(&folder), lines(&[1]));
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        for open in [MetricsLog::create, |dir: &Path| Ok(MetricsLog::resume(dir, 1)?.log)] {
            let error = open(Path::new("/nowhere")).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with("cannot write `/nowhere/metrics.jsonl`"), "{message}");
        }
    }

    #[test]
    fn a_record_that_is_no_json_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::create(folder.path()).unwrap();
        let record = std::collections::BTreeMap::from([((1, 2), "a key must be text")]);
        let error = log.write(&record).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl` as JSON"), "{error}");
        assert_eq!(content(&folder), "");
    }
}
