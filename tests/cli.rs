//! The example as a user meets it: what it leaves behind, and how it refuses what is broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The `losia_llama` binary, which cargo builds beside this test.
fn losia_llama() -> Command {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let name = format!("losia_llama{}", std::env::consts::EXE_SUFFIX);
    let mut command = Command::new(profile.join("examples").join(name));
    command.args(["--device", "flex"]);
    command
}

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    /// The repository's model and a few lines of its data, in a folder of their own.
    fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(fixture.model()).unwrap();
        for entry in fs::read_dir(root().join("assets/tiny-llama")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, fixture.model().join(path.file_name().unwrap())).unwrap();
        }
        let lines = fs::read_to_string(root().join("assets/tasks/train.jsonl")).unwrap();
        let few: Vec<&str> = lines.lines().take(12).collect();
        fs::write(fixture.data(), few.join("\n")).unwrap();
        fixture
    }

    fn model(&self) -> PathBuf {
        self.dir.path().join("model")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data.jsonl")
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn run(&self, more: &[&str]) -> Output {
        losia_llama()
            .args(["--batch", "4", "--period", "1", "--save-steps", "1"])
            .arg("--model")
            .arg(self.model())
            .arg("--data")
            .arg(self.data())
            .arg("--out")
            .arg(self.out())
            .args(more)
            .output()
            .expect("runs")
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.out().join("run.json")).unwrap()).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_run_leaves_a_report_metrics_and_a_model_to_go_on_from() {
    let fixture = Fixture::new();
    let output = fixture.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report = fixture.report();
    assert_eq!(report["status"], "completed");
    for when in ["before", "after"] {
        assert!(report[when]["accuracy"].is_number() && report[when]["loss"].is_number());
    }
    let metrics = fs::read_to_string(fixture.out().join("metrics.jsonl")).unwrap();
    let steps: Vec<Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(steps.iter().any(|step| !step["events"].is_null()), "a subnet moved: {metrics}");

    let resumed = fixture.run(&["--resume"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(fixture.report()["after"], report["after"], "nothing was left to train");

    let saved = fixture.out().join("final").to_string_lossy().into_owned();
    assert_eq!(weight_type(&saved), weight_type(&fixture.model().to_string_lossy()));
    let out = fixture.dir.path().join("second").to_string_lossy().into_owned();
    let again = fixture.run(&["--model", &saved, "--out", &out, "--max-steps", "1"]);
    assert!(again.status.success(), "{}", stderr(&again));
}

/// Refused: exit code 2, the culprit named, a hint given, no panic.
#[test]
fn what_is_broken_is_refused_by_name() {
    type Break = fn(&Fixture);
    let cases: [(&str, Break, &[&str]); 11] = [
        (
            "no weights",
            |f| fs::remove_file(f.model().join("model.safetensors")).unwrap(),
            &["model.safetensors"],
        ),
        (
            "truncated weights",
            |f| truncate(&f.model().join("model.safetensors")),
            &["model.safetensors"],
        ),
        ("a lying header", |f| lie(&f.model().join("model.safetensors")), &["model.safetensors"]),
        (
            "no configuration",
            |f| fs::remove_file(f.model().join("config.json")).unwrap(),
            &["config.json"],
        ),
        (
            "an impossible configuration",
            |f| set(f, "num_key_value_heads", 3.into()),
            &["config.json", "num_key_value_heads"],
        ),
        ("a wrong shape", |f| set(f, "intermediate_size", 64.into()), &["mlp."]),
        ("a missing tensor", |f| set(f, "num_hidden_layers", 9.into()), &["model.layers."]),
        ("a missing shard", |f| shard(f), &["model-00002-of-00002.safetensors"]),
        (
            "a broken tokenizer",
            |f| truncate(&f.model().join("tokenizer.json")),
            &["tokenizer.json"],
        ),
        ("a broken line", |f| append(f, "{\"instruction\": \"Add.\""), &["data.jsonl:13"]),
        (
            "a line without its answer",
            |f| append(f, "{\"instruction\": \"Add.\"}"),
            &["data.jsonl:13", "output"],
        ),
    ];
    for (what, break_it, names) in cases {
        let fixture = Fixture::new();
        break_it(&fixture);
        let output = fixture.run(&[]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{what}: {message}");
        assert!(message.contains("error: ") && message.contains("hint: "), "{what}: {message}");
        for name in names {
            assert!(message.contains(name), "{what}: {name} is not named in {message}");
        }
        assert!(!fixture.out().join("run.json").exists(), "{what}");
    }
}

#[test]
fn numbers_beyond_all_reason_are_refused() {
    let fixture = Fixture::new();
    for option in ["--period", "--epochs", "--batch", "--accumulate", "--max-steps"] {
        let output = fixture.run(&[option, &usize::MAX.to_string()]);
        assert_refused(&output, "expected at most");
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

/// Exit code 2 and nothing measured, with `name` in the message.
fn assert_refused(output: &Output, name: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{name}: {message}");
    assert!(message.contains(name), "{name}: {message}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("before"), "{name}: measured first");
}

#[test]
fn bad_settings_are_refused_by_name_before_the_model_is_loaded() {
    let fixture = Fixture::new();
    for (args, name) in [
        (["--rank-factor", "0"], "rank_factor"),
        (["--learning-rate", "inf"], "learning_rate"),
        (["--output-dim-factor", "2"], "output_dim_factor"),
        (["--device", "toaster"], "toaster"),
        (["--max-steps", "0"], "--max-steps"),
    ] {
        assert_refused(&fixture.run(&args), name);
    }
    let known = fixture.run(&["--known-data", "absent.jsonl"]);
    assert_refused(&known, "absent.jsonl");
}

#[test]
fn what_is_in_the_output_folder_is_not_lost() {
    for folder in ["final", "adapter"] {
        let fixture = Fixture::new();
        let notes = fixture.out().join(folder).join("notes.txt");
        fs::create_dir_all(notes.parent().unwrap()).unwrap();
        fs::write(&notes, "of the user").unwrap();
        let output = fixture.run(&[]);
        assert_refused(&output, folder);
        assert!(stderr(&output).contains("hint: "));
        assert_eq!(fs::read_to_string(&notes).unwrap(), "of the user");
    }
}

#[test]
fn the_base_model_is_not_replaced() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.out()).unwrap();
    let base = fixture.out().join("final");
    fs::rename(fixture.model(), &base).unwrap();
    for more in [&[][..], &["--overwrite-output-dir"]] {
        let model = base.to_string_lossy();
        let output = fixture.run(&[&["--model", &model], more].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("final") && base.join("model.safetensors").exists());
    }
}

#[test]
fn there_must_be_a_checkpoint_to_go_on_from() {
    let fixture = Fixture::new();
    assert_refused(&fixture.run(&["--resume"]), "out");
    fs::create_dir(fixture.out()).unwrap();
    fs::write(fixture.out().join("metrics.jsonl"), "of an earlier run").unwrap();
    assert_refused(&fixture.run(&["--resume"]), "out");
    let metrics = fs::read_to_string(fixture.out().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics, "of an earlier run");
}

#[test]
fn bad_lines_are_skipped_when_asked() {
    let fixture = Fixture::new();
    append(&fixture, "not json");
    let output = fixture.run(&["--skip-bad-lines", "--max-steps", "1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 left out as malformed"));
}

/// The type of the weights of the checkpoint in `dir`, as its `config.json` says.
fn weight_type(dir: &str) -> String {
    let config = fs::read(Path::new(dir).join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    config["torch_dtype"].as_str().or(config["dtype"].as_str()).unwrap().into()
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// A header that claims to be longer than the file.
fn lie(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

fn set(fixture: &Fixture, key: &str, value: Value) {
    let path = fixture.model().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

fn shard(fixture: &Fixture) {
    let model = fixture.model();
    fs::rename(model.join("model.safetensors"), model.join("model-00001-of-00002.safetensors"))
        .unwrap();
    let index = serde_json::json!({"weight_map": {
        "model.norm.weight": "model-00001-of-00002.safetensors",
        "lm_head.weight": "model-00002-of-00002.safetensors",
    }});
    fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn append(fixture: &Fixture, line: &str) {
    let data = fs::read_to_string(fixture.data()).unwrap();
    fs::write(fixture.data(), format!("{data}\n{line}\n")).unwrap();
}
