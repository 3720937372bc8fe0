//! What the tests of the command share.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A folder of its own for a test, with a copy of the small model, a few samples and a config file.
pub struct Fixture {
    dir: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        copy_dir(&repository().join("assets/tiny-llama"), &fixture.path("model"));
        let lines = fs::read_to_string(repository().join("assets/tasks/train.jsonl")).unwrap();
        let few: Vec<&str> = lines.lines().take(24).collect();
        fs::write(fixture.path("data.jsonl"), few.join("\n")).unwrap();
        fs::write(fixture.path("run.toml"), CONFIG).unwrap();
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the command in the fixture's folder.
    pub fn run(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_burn-peft"))
            .env_remove("RUST_BACKTRACE") // with it, caught panics are told too
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("the command runs");
        Ran::new(output)
    }

    /// Runs it, which must succeed.
    pub fn done(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }
}

const CONFIG: &str = "\
base_model = \"model\"
device = \"flex\"
dtype = \"f32\"
method = \"losia-pro\"
period = 1
learning_rate = 1e-3
datasets = [{ path = \"data.jsonl\" }]
val_set_size = 4
micro_batch_size = 4
output_dir = \"run\"
";

/// What a command said, and its exit code.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_dir(&path, &target),
            false => drop(fs::copy(&path, target).unwrap()),
        }
    }
}
