//! What is trained: the small model of the repository, with validation, accumulation and batches of
//! like length, and a checkpoint every few steps.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Process;
use crate::conform::CaseError;

/// Optimizer steps of a run.
pub const STEPS: usize = 200;
/// Steps between checkpoints.
pub const SAVE_STEPS: usize = 5;
/// Samples trained and measured on: 31 steps an epoch.
const SAMPLES: usize = 256;

/// Methods that take turns, and their settings.
pub const METHODS: [(&str, &str); 5] = [
    ("losia-pro", "method = 'losia-pro'\nperiod = 10"),
    ("lora", "method = 'lora'\nlora_dropout = 0.1"),
    (
        "adalora",
        "method = 'adalora'\ninit_r = 8\ntarget_r = 4\ntinit = 20\ntfinal = 40\ndeltaT = 5",
    ),
    ("dora, packed", "method = 'dora'\nsample_packing = true\nsequence_len = 96"),
    ("full", "method = 'full'"),
];

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// No file may be larger than this many blocks of 512 or 1024 bytes, by the shell. Every checkpoint
/// has a larger one.
const LIMITED: &str = "trap '' XFSZ; ulimit -f 1024; exec \"$@\"";

/// A run to be started again and again, in a folder of its own.
pub struct Task<'a> {
    command: &'a Path,
    work: &'a Path,
}

impl<'a> Task<'a> {
    /// Writes data and configuration into the folder `work`.
    pub fn new(
        command: &'a Path,
        work: &'a Path,
        settings: &str,
        seed: u64,
    ) -> Result<Self, CaseError> {
        let lines = std::fs::read_to_string(format!("{REPOSITORY}/assets/tasks/train.jsonl"))?;
        let lines: Vec<&str> = lines.lines().take(SAMPLES).collect();
        std::fs::write(work.join("data.jsonl"), lines.join("\n"))?;
        let data = work.join("data.jsonl");
        std::fs::write(work.join("run.toml"), config(settings, &data, seed))?;
        Ok(Self { command, work })
    }

    /// The folder for all that belongs to the task.
    pub fn work(&self) -> &'a Path {
        self.work
    }

    /// Trains without a disturbance. Returns the output folder.
    pub fn undisturbed(&self) -> Result<PathBuf, CaseError> {
        let out = self.work.join("undisturbed");
        let ended = self.start(&out)?.wait()?;
        match ended.code {
            Some(0) => Ok(out),
            code => {
                Err(format!("the undisturbed run ended with {code:?}: {}", ended.stderr).into())
            }
        }
    }

    /// Starts the run in the folder `out`, or goes on with it.
    pub fn start(&self, out: &Path) -> io::Result<Process> {
        let mut command = Command::new(self.command);
        Process::start(command.args(self.arguments(out)), self.work)
    }

    /// Like [`start`](Self::start), but it may not write files as large as a checkpoint's.
    pub fn start_limited(&self, out: &Path) -> io::Result<Process> {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", LIMITED, "sh"]).arg(self.command);
        Process::start(shell.args(self.arguments(out)), self.work)
    }

    fn arguments(&self, out: &Path) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let plain = "--plain".to_string();
        match out.join("config.toml").exists() {
            true => vec!["resume".into(), text(out), plain],
            false => {
                let out = format!("output_dir={}", text(out));
                vec!["train".into(), text(&self.work.join("run.toml")), out, plain]
            }
        }
    }
}

fn config(settings: &str, data: &Path, seed: u64) -> String {
    format!(
        "base_model = '{REPOSITORY}/assets/tiny-llama'\n\
         device = 'flex'\n\
         dtype = 'f32'\n\
         {settings}\n\
         learning_rate = 1e-3\n\
         datasets = [{{ path = '{}' }}]\n\
         val_set_size = 8\n\
         group_by_length = true\n\
         micro_batch_size = 4\n\
         gradient_accumulation_steps = 2\n\
         num_epochs = 7\n\
         max_steps = {STEPS}\n\
         seed = {seed}\n\
         logging_steps = 1\n\
         save_steps = {SAVE_STEPS}\n\
         save_total_limit = 3\n\
         output_dir = 'set when it is started'\n",
        data.display()
    )
}
