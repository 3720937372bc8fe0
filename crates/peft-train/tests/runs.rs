//! Planned runs of the small model: what they leave, also where they do not end well.

use std::fs;
use std::path::{Path, PathBuf};

use burn::train::renderer::MetricsRenderer;
use peft_train::Error;
use peft_train::config::TypedConfig;
use peft_train::plan::{Activity, CheckpointSize, Outcome, Plan, resumed};
use peft_train::progress::LinesRenderer;
use peft_train::report::{RunReport, RunStatus};
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of its own for a test, with a copy of the small model and a few samples. Runs write into
/// `out`.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fs::create_dir(fixture.path("model")).unwrap();
        for entry in fs::read_dir(repository().join("assets/tiny-llama")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, fixture.path("model").join(path.file_name().unwrap())).unwrap();
        }
        let lines = fs::read_to_string(repository().join("assets/tasks/train.jsonl")).unwrap();
        let lines: Vec<&str> = lines.lines().take(28).collect();
        fs::write(fixture.path("data.jsonl"), lines[..24].join("\n")).unwrap();
        fs::write(fixture.path("test.jsonl"), lines[24..].join("\n")).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }

    fn report(&self) -> RunReport {
        RunReport::read(&self.path("out")).unwrap()
    }

    fn plan(&self, settings: &[&str]) -> Plan {
        let toml = format!(
            "base_model = {:?}\nmethod = \"lora\"\nlora_r = 2\ndevice = \"flex\"\ndtype = \"f32\"\n\
             datasets = [{{ path = {:?} }}]\ntest_datasets = [{{ path = {:?} }}]\n\
             micro_batch_size = 8\nlogging_steps = 1\noutput_dir = {:?}\n",
            self.path("model"),
            self.path("data.jsonl"),
            self.path("test.jsonl"),
            self.path("out"),
        );
        let settings: Vec<_> = settings.iter().map(|setting| setting.to_string()).collect();
        Plan::new(&TypedConfig::parse(&toml, "run.toml", &settings).unwrap()).unwrap()
    }

    fn resume(&self) -> Result<Plan, Error> {
        Plan::new(&resumed(&self.path("out"))?.0)
    }
}

/// Trains to the end. `before` is called when the model is loaded.
fn run(plan: Plan, before: impl FnOnce()) -> Result<Outcome, Error> {
    let training = plan.load(&mut |_| {})?;
    before();
    let lines = LinesRenderer::new(std::io::sink(), training.lines());
    training.launch(Some(Box::new(lines) as Box<dyn MetricsRenderer>), &mut |_| {})
}

/// Loads a plan, and says what it was busy with.
fn activities(plan: Plan) -> (Vec<Activity>, Result<(), Error>) {
    let mut told = Vec::new();
    let loaded = plan.load(&mut |activity| told.push(activity)).map(drop);
    (told, loaded)
}

fn measures(activities: &[Activity]) -> bool {
    activities.iter().any(|activity| matches!(activity, Activity::Measuring { .. }))
}

#[test]
fn a_tokenizer_that_vanishes_is_missed_and_nothing_is_lost() {
    let fixture = Fixture::new();
    let (tokenizer, aside) = (fixture.path("model/tokenizer.json"), fixture.path("aside"));
    let away = || fs::rename(&tokenizer, &aside).unwrap();
    let error = run(fixture.plan(&[]), away).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("the run is done, but cannot read `"), "{message}");
    assert!(message.contains("tokenizer.json") && message.contains("checkpoint-3"), "{message}");
    assert!(error.hint().unwrap().contains("resume the run"));
    assert!(fixture.out("adapter/adapter_model.safetensors").exists());
    assert!(!fixture.out("final").exists());
    let report = fixture.report();
    assert_eq!((report.status, report.error), (RunStatus::Failed, Some(message)));

    fs::rename(aside, tokenizer).unwrap();
    let outcome = run(fixture.resume().unwrap(), || ()).unwrap();
    assert_eq!((outcome.status, outcome.steps), (RunStatus::Completed, 3));
    assert!(fixture.out("final/tokenizer.json").exists());
    assert_eq!(fixture.report().status, RunStatus::Completed);
}

/// A process that is killed leaves a report that says all but how it ended.
#[test]
fn a_run_is_completed_when_its_result_is_on_the_disk() {
    let fixture = Fixture::new();
    let training = fixture.plan(&[]).load(&mut |_| {}).unwrap();
    let lines = LinesRenderer::new(std::io::sink(), training.lines());
    let mut told = None;
    let watch = &mut |activity| {
        if activity == Activity::Saving {
            told = Some((fixture.report(), fixture.out("checkpoint-3/manifest.json").exists()));
        }
    };
    training.launch(Some(Box::new(lines)), watch).unwrap();
    let (saving, is_saved) = told.unwrap();
    assert!(saving.status == RunStatus::Running && is_saved);
    let report = fixture.report();
    assert_eq!(report.status, RunStatus::Completed);
    assert!(report.burn_version.unwrap().starts_with("0.22."));
    assert_eq!((saving.config, saving.before), (report.config, report.before));
    assert_eq!((saving.data, saving.notes), (report.data, report.notes));
}

#[test]
fn an_adapter_names_its_base_and_its_task_for_peft() {
    let fixture = Fixture::new();
    let outcome = run(fixture.plan(&[]), || ()).unwrap();
    let config = fs::read(outcome.adapter.unwrap().join("adapter_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let base = fixture.path("model").canonicalize().unwrap();
    assert_eq!(config["base_model_name_or_path"].as_str(), base.to_str());
    assert_eq!(config["task_type"], "CAUSAL_LM");
}

#[test]
fn a_run_that_diverges_is_reported_as_any_other() {
    let fixture = Fixture::new();
    let data = fs::read_to_string(fixture.path("data.jsonl")).unwrap();
    fs::write(fixture.path("data.jsonl"), data + "\nnot JSON\n").unwrap();
    let settings = ["learning_rate=1e38", "num_epochs=9", "skip_bad_lines=true", "sequence_len=24"];
    let error = run(fixture.plan(&settings), || ()).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    let report = fixture.report();
    assert_eq!((report.status, &report.error), (RunStatus::Failed, &Some(error.to_string())));
    assert_eq!(report.config["learning_rate"], 1e38);
    assert_eq!(report.config["lora_r"], 2);
    assert!(report.before.unwrap().loss > Some(0.0) && report.after.is_none());
    let data = report.data.unwrap();
    let [train, test] = &data.datasets[..] else { panic!("{data:?}") };
    assert_eq!((data.train_samples, data.valid_samples), (train.samples, test.samples));
    assert_eq!((train.samples + train.dropped, train.skipped, test.skipped), (24, 1, 0));
    assert!(train.truncated > 0 && train.tokens > 0, "{train:?}");
    let text = fs::read_to_string(fixture.out("report.md")).unwrap();
    for part in
        ["# lora: failed", "training diverged", "1 left out as malformed", "→ –", "(loss.svg)"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(fixture.out("loss.svg").exists());
}

#[test]
fn nothing_of_an_overwritten_run_is_taken_for_the_new_one() {
    let fixture = Fixture::new();
    run(fixture.plan(&[]), || ()).unwrap();
    for name in ["final", "adapter", "report.md", "loss.svg", "run.json", "checkpoint-3"] {
        assert!(fixture.out(name).exists(), "{name}");
    }
    // As if it was killed before its first checkpoint.
    drop(fixture.plan(&["overwrite_output_dir=true", "seed=5"]).load(&mut |_| {}).unwrap());
    let left = fs::read_dir(fixture.path("out")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock", "config.toml", "metrics.jsonl"]);
    let (typed, _) = resumed(&fixture.path("out")).unwrap();
    assert_eq!((typed.config.resume_from_checkpoint, typed.config.seed), (None, 5));
}

#[test]
fn the_base_is_measured_once_on_the_same_samples() {
    let fixture = Fixture::new();
    run(fixture.plan(&[]), || ()).unwrap();
    let want = fixture.report().before;
    let (told, loaded) = activities(fixture.resume().unwrap());
    loaded.unwrap();
    assert!(!measures(&told), "{told:?}");
    assert_eq!(run(fixture.resume().unwrap(), || ()).unwrap().before, want);

    let lines = fs::read_to_string(fixture.path("test.jsonl")).unwrap();
    fs::write(fixture.path("test.jsonl"), lines.lines().next().unwrap()).unwrap();
    let (told, loaded) = activities(fixture.resume().unwrap());
    loaded.unwrap();
    assert!(measures(&told), "other samples are measured");
}

#[test]
fn a_folder_in_use_is_refused_before_weights_load() {
    let fixture = Fixture::new();
    let first = fixture.plan(&[]).load(&mut |_| {}).unwrap();
    let (told, loaded) = activities(fixture.plan(&[]));
    let error = loaded.unwrap_err();
    assert!(matches!(error, Error::OutputDirLocked { .. }) && told.is_empty(), "{error} {told:?}");
    drop(first);
}

#[test]
fn a_device_that_fails_while_the_base_is_measured_is_an_error() {
    let full = &mut |activity| {
        assert!(!matches!(activity, Activity::Measuring { .. }), "out of memory");
    };
    let error = Fixture::new().plan(&[]).load(full).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "the device failed: out of memory");
    assert!(error.hint().unwrap().contains("lower the batch size"));
}

/// Trains for three steps, with a checkpoint of each. Returns their bytes, and what the plan says.
fn checkpoint_bytes(settings: &[&str]) -> ([usize; 3], CheckpointSize) {
    let fixture = Fixture::new();
    let plan = fixture.plan(&[settings, &["save_steps=1", "save_total_limit=0"]].concat());
    let size = plan.checkpoint_size();
    run(plan, || ()).unwrap();
    let bytes = |steps: usize| {
        let files = fs::read_dir(fixture.out(&format!("checkpoint-{steps}"))).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len() as usize).sum()
    };
    ([1, 2, 3].map(bytes), size)
}

/// But for names, shapes and hashes: of 35 weights, with up to 15 tensors each.
#[test]
fn checkpoints_are_as_large_as_the_plan_says() {
    for settings in [
        &["method=lora"][..],
        &["method=pissa"],
        &["method=adalora"],
        &["method=losia-pro", "period=10"], // the first layer is being localised
        &["method=full"],
    ] {
        let ([_, found, _], size) = checkpoint_bytes(settings); // before AdaLoRA's last cut
        let names = found.checked_sub(size.bytes);
        assert!(names.is_some_and(|names| names < 80_000), "{settings:?}: {found}, {size:?}");
    }
    let ([_, before, after], size) = checkpoint_bytes(&["method=losia-pro", "period=1"]);
    let names = (after - before).checked_sub(size.per_move);
    assert!(names.is_some_and(|names| names < 10_000), "{before} {after} {size:?}");
}

#[test]
fn a_run_waits_for_its_data_to_come_back() {
    let fixture = Fixture::new();
    let stopped = fixture.plan(&[]).load(&mut |_| {}).unwrap();
    stopped.interrupter().stop(None);
    let lines = LinesRenderer::new(std::io::sink(), stopped.lines());
    let stopped = stopped.launch(Some(Box::new(lines)), &mut |_| {}).unwrap();
    assert_eq!((stopped.status, stopped.final_model), (RunStatus::Interrupted, None));

    let (data, aside) = (fixture.path("data.jsonl"), fixture.path("aside"));
    fs::rename(&data, &aside).unwrap();
    let error = fixture.resume().unwrap_err();
    assert!(error.to_string().contains("data.jsonl"), "{error}");
    fs::rename(aside, data).unwrap();
    let outcome = run(fixture.resume().unwrap(), || ()).unwrap();
    assert_eq!((outcome.status, outcome.steps), (RunStatus::Completed, 3));
}
