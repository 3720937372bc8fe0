//! A small disk for a run, and its end.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{Ended, Process};
use super::task::Task;
use crate::conform::CaseError;

/// Room for a run's checkpoints, five of them at once and 22 MB each where all trains, and for not much
/// more.
const SIZE: &str = "size=128m";
/// A process on a full disk must have noticed by then.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a run writes.
pub struct Disk {
    dir: PathBuf,
    /// Whether it is a file system of its own, in memory. Where that is not allowed, a limit on the
    /// size of files stands for a full disk.
    mounted: bool,
}

impl Disk {
    /// Makes the folder `dir`, and a file system in it where that is allowed.
    pub fn new(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir(&dir)?;
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&dir);
        let status = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        Ok(Self { dir, mounted: status.is_ok_and(|status| status.success()) })
    }

    /// Folder of the disk.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets the run in `out` work until, after `moment`, there is no room left. Makes room again
    /// once the process has ended.
    pub fn exhaust(
        &self,
        task: &Task<'_>,
        out: &Path,
        moment: Duration,
    ) -> Result<Ended, CaseError> {
        if !self.mounted {
            return Ok(task.start_limited(out)?.wait()?);
        }
        let mut process = task.start(out)?;
        std::thread::sleep(moment);
        let ballast = self.dir.join("ballast");
        fill(&ballast, &mut process)?;
        std::fs::remove_file(&ballast)?;
        Ok(process.wait()?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Nothing can be done about it here; a temporary folder stays behind.
            let _ = Command::new("umount").arg(&self.dir).status();
        }
    }
}

/// Fills the disk, and takes whatever room the process makes, until it has ended.
fn fill(ballast: &Path, process: &mut Process) -> Result<(), CaseError> {
    let begin = Instant::now();
    let mut file = File::create(ballast)?;
    let block = vec![0; 1 << 16];
    while process.is_running()? {
        while file.write(&block).is_ok_and(|written| written > 0) {}
        if begin.elapsed() > PATIENCE {
            return Err("the process goes on although the disk is full".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
