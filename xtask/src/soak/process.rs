//! A training process: started, watched, killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process, which does not outlive this value.
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a process said before it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `command`; what it says goes into files in the folder `logs`.
    pub fn start(command: &mut Command, logs: &Path) -> io::Result<Self> {
        let [stdout, stderr] = ["stdout.txt", "stderr.txt"].map(|name| logs.join(name));
        let command = command.stdin(Stdio::null()).stdout(File::create(&stdout)?);
        let child = command.stderr(File::create(&stderr)?).spawn()?;
        Ok(Self { child, stdout, stderr })
    }

    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it after `moment`, unless it ends by itself before.
    pub fn kill_after(mut self, moment: Duration) -> io::Result<Ended> {
        std::thread::sleep(moment);
        self.child.kill()?;
        self.wait()
    }

    /// Waits until it ends.
    pub fn wait(mut self) -> io::Result<Ended> {
        let code = self.child.wait()?.code();
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(std::fs::read);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended { code, stdout: text(stdout?), stderr: text(stderr?) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Steps it said it had taken, in order: `epoch 1/7  step 12/200  loss …`.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.stdout.lines().filter_map(|line| {
            let (_, step) = line.strip_prefix("epoch ")?.split_once("  step ")?;
            step.split_once('/')?.0.parse().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_lines_of_progress() {
        let stdout = "steps    40: 12 samples\n\
            epoch 1/2  step 9/40  loss 2.0\nepoch 2/2  step 10/40  loss 1.0\n\
            epoch 2/2  train  loss 1.5\nepoch 2/2  step 11"
            .to_string();
        let ended = Ended { code: None, stdout, stderr: String::new() };
        assert_eq!(ended.steps().collect::<Vec<_>>(), [9, 10]);
    }

    #[cfg(unix)]
    #[test]
    fn a_killed_process_has_no_exit_code() {
        let logs = tempfile::tempdir().unwrap();
        let start = |script| Process::start(Command::new("sh").args(["-c", script]), logs.path());
        let ended = start("echo here; exec sleep 60").unwrap();
        let ended = ended.kill_after(Duration::from_millis(200)).unwrap();
        assert_eq!((ended.code, &*ended.stdout), (None, "here\n"));
        let ended = start("echo no >&2; exit 2").unwrap().wait().unwrap();
        assert_eq!((ended.code, &*ended.stderr), (Some(2), "no\n"));
    }
}
