//! A run that is disturbed again and again until it is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use peft_train::run::CheckpointManifest;
use rand::Rng;

use super::damage::damage;
use super::disk::Disk;
use super::event::{Event, Kind};
use super::process::Ended;
use super::task::{SAVE_STEPS, STEPS, Task};
use crate::conform::CaseError;

/// A run on a small disk of its own.
pub struct Disturbed<'a> {
    task: &'a Task<'a>,
    disk: Disk,
    output_dir: PathBuf,
    /// Steps of the checkpoint that the next process goes on from.
    kept: usize,
    /// Whether a newer one was damaged, which the next process must say.
    damaged: bool,
}

impl<'a> Disturbed<'a> {
    pub fn new(task: &'a Task<'a>) -> Result<Self, CaseError> {
        let disk = Disk::new(task.work().join("disk"))?;
        let output_dir = disk.dir().join("run");
        Ok(Self { task, disk, output_dir, kept: 0, damaged: false })
    }

    pub fn output_dir(&self) -> &Path {
        &self.output_dir
    }

    /// Starts a process, which goes on with the run until, after `moment`, something happens to it.
    /// `None` if it was done before.
    ///
    /// # Errors
    /// If it did not go on from where it should, or did not say clearly why it stopped.
    pub fn disturb(
        &mut self,
        kind: Kind,
        moment: Duration,
        rng: &mut impl Rng,
    ) -> Result<Option<Event>, CaseError> {
        let ended = match kind {
            Kind::Full => self.disk.exhaust(self.task, &self.output_dir, moment)?,
            _ => self.task.start(&self.output_dir)?.kill_after(moment)?,
        };
        self.check_start(&ended)?;
        match (ended.code, kind) {
            (Some(0), _) => return Ok(None),
            (Some(_), Kind::Full) => check_message(&ended, self.disk.dir())?,
            (None, Kind::Killed | Kind::Damaged) => (),
            (code, _) => {
                return Err(format!("ended with {code:?}: {}", ended.stderr.trim()).into());
            }
        }
        let detail = match kind {
            Kind::Damaged => self.damage_newest(rng)?,
            _ => None,
        };
        let kind = match (kind, &detail) {
            (Kind::Damaged, None) => Kind::Killed,
            _ => kind,
        };
        let reached = ended.steps().next_back().unwrap_or(self.kept);
        (self.kept, self.damaged) = (newest(&self.output_dir), kind == Kind::Damaged);
        Ok(Some(Event { kind, detail: detail.unwrap_or_default(), reached, kept: self.kept }))
    }

    /// The first step of a process must be the one after its checkpoint.
    fn check_start(&self, ended: &Ended) -> Result<(), CaseError> {
        let Some(first) = ended.steps().next() else { return Ok(()) };
        if first != self.kept + 1 {
            return Err(format!("went on with step {first} after {}", self.kept).into());
        }
        match self.damaged && !ended.stdout.contains("passed over: ") {
            true => Err("a damaged checkpoint was passed over without a word".into()),
            false => Ok(()),
        }
    }

    /// Damages the newest whole checkpoint, if the one an interval before it is whole, too.
    fn damage_newest(&self, rng: &mut impl Rng) -> Result<Option<String>, CaseError> {
        let newest = newest(&self.output_dir);
        let before = newest.checked_sub(SAVE_STEPS).filter(|steps| *steps > 0);
        match before.is_some_and(|steps| is_whole(&checkpoint(&self.output_dir, steps))) {
            true => Ok(Some(damage(&checkpoint(&self.output_dir, newest), rng)?)),
            false => Ok(None),
        }
    }
}

/// An error must be an error, name a file on the disk, and say what to do.
fn check_message(ended: &Ended, disk: &Path) -> Result<(), CaseError> {
    let path = disk.display().to_string();
    let parts = ["error: ", &path, "hint: "];
    match parts.iter().find(|part| !ended.stderr.contains(**part)) {
        None if matches!(ended.code, Some(1 | 2)) => Ok(()),
        None => Err(format!("exit code {:?} on a full disk", ended.code).into()),
        Some(part) => {
            let said = ended.stderr.trim();
            Err(format!("no `{part}` in what is said of a full disk: {said}").into())
        }
    }
}

fn checkpoint(output_dir: &Path, steps: usize) -> PathBuf {
    output_dir.join(format!("checkpoint-{steps}"))
}

/// Steps of the newest whole checkpoint; 0 if there is none.
fn newest(output_dir: &Path) -> usize {
    let mut steps = (1..=STEPS).rev();
    steps.find(|steps| is_whole(&checkpoint(output_dir, *steps))).unwrap_or(0)
}

fn is_whole(dir: &Path) -> bool {
    CheckpointManifest::read(dir).and_then(|manifest| manifest.verify(dir)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_must_be_explained() {
        let said = |code, stderr: &str| {
            let ended = Ended { code: Some(code), stdout: String::new(), stderr: stderr.into() };
            check_message(&ended, Path::new("/disk")).err().map(|error| error.to_string())
        };
        let clear = "error: cannot write `/disk/run/run.json`: full\nhint: free some space\n";
        assert_eq!(said(1, clear), None);
        assert!(said(101, clear).unwrap().contains("exit code Some(101)"));
        assert!(said(2, "error: cannot write: full\nhint: x").unwrap().contains("/disk"));
        assert!(said(2, "error: /disk").unwrap().contains("hint: "));
    }
}
