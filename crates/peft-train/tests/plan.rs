//! Plans of the small model: what is found out before a weight is loaded.

use std::fs;
use std::path::{Path, PathBuf};

use peft_train::Error;
use peft_train::config::{MethodName, TypedConfig};
use peft_train::plan::Plan;
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A folder with a few samples, and a configuration of the small model for them.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lines = fs::read_to_string(repository().join("assets/tasks/train.jsonl")).unwrap();
        let few: Vec<&str> = lines.lines().take(40).collect();
        fs::write(dir.path().join("data.jsonl"), few.join("\n")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn typed(&self, settings: &[&str]) -> Result<TypedConfig, Error> {
        let toml = format!(
            "base_model = {:?}\nmethod = \"losia-pro\"\ndatasets = [{{ path = {:?} }}]\n\
             output_dir = {:?}\ndevice = \"flex\"\n",
            repository().join("assets/tiny-llama"),
            self.path("data.jsonl"),
            self.path("out"),
        );
        let settings: Vec<_> = settings.iter().map(|setting| setting.to_string()).collect();
        TypedConfig::parse(&toml, "run.toml", &settings)
    }

    fn plan(&self, settings: &[&str]) -> Result<Plan, Error> {
        Plan::new(&self.typed(settings)?)
    }

    fn refused(&self, settings: &[&str]) -> (String, Option<String>) {
        let error = self.plan(settings).unwrap_err();
        let text = error.to_string().replace(&self.0.path().display().to_string(), "DIR");
        (text.replace(&repository().display().to_string(), "REPOSITORY"), error.hint())
    }
}

#[test]
fn a_plan_knows_steps_and_targets_without_weights() {
    let plan = Fixture::new()
        .plan(&["micro_batch_size=4", "gradient_accumulation_steps=2", "num_epochs=3"])
        .unwrap();
    assert_eq!((plan.steps().samples, plan.steps().per_epoch, plan.steps().total), (40, 5, 15));
    assert_eq!(plan.outline().adapted.len(), 35);
    assert_eq!(plan.config().learning_rate, Some(2e-5));
    assert_eq!(plan.config().sequence_len.unwrap().get(), 256, "what the model was trained for");
    assert!(plan.memory().1.is_some(), "the machine's memory is known");
}

#[test]
fn every_method_is_planned() {
    let fixture = Fixture::new();
    for method in MethodName::ALL {
        let plan = fixture.plan(&[&format!("method={method}")]).unwrap();
        let (memory, counts) = (plan.memory().0, plan.outline().counts);
        assert!(counts.trainable > 0 && memory.activations > 0, "{method}");
        assert_eq!(plan.outline().adapted.is_empty(), method == MethodName::Full);
    }
}

#[test]
fn a_plan_reads_as_one() {
    let fixture = Fixture::new();
    let settings = ["micro_batch_size=8", "max_steps=3", "period=2", "val_set_size=0.2"];
    let plan = fixture.plan(&settings).unwrap().to_string();
    let known = |line: &&str| !line.starts_with("memory") && !line.starts_with("device");
    let plan: Vec<&str> = plan.lines().filter(known).collect();
    let plan = plan.join("\n").replace(&fixture.0.path().display().to_string(), "DIR");
    let plan = plan.replace(&repository().display().to_string(), "REPOSITORY");
    insta::assert_snapshot!(plan);
}

#[test]
fn what_cannot_be_done_is_refused_with_its_place() {
    let fixture = Fixture::new();
    for (settings, message) in [
        (
            &["base_model=nowhere"][..],
            "command line: nowhere/config.json: No such file or directory (os error 2)",
        ),
        (&["device=toaster"], "command line: no device `toaster` in this build"),
        (&["sequence_len=512"], "command line: `sequence_len` is 512, expected at most 256"),
        (
            &["target_modules=['query']"],
            "command line: `target_modules` = \"query\" matches no linear layer of this model",
        ),
        (
            &["target_modules=q_(proj"],
            "command line: `target_modules` = \"q_(proj\" is not a valid regular expression",
        ),
        (
            &["modules_to_save=['embed']"],
            "command line: `modules_to_save` = \"embed\" matches no parameter of this model",
        ),
        (
            &["datasets=[{ path = 'nowhere.jsonl' }]"],
            "command line: cannot read `nowhere.jsonl`: entity not found",
        ),
        (&["val_set_size=40"], "run.toml:3: `val_set_size` is 40, expected"),
        (
            &["method=adalora", "tinit=30", "tfinal=12"],
            "command line: `tinit` is 30, total_step 40 − tfinal 12 is 28",
        ),
        (
            &["method=pissa", "lora_r=500"],
            "command line: `lora_r` is 500 for `model.layers.0.self_attn.q_proj.weight` of shape",
        ),
        (
            &["resume_from_checkpoint=nowhere"],
            "command line: cannot read `nowhere`: No such file or directory (os error 2)",
        ),
        (
            &["chat_template=nowhere.jinja"],
            "command line: nowhere.jinja: No such file or directory (os error 2)",
        ),
    ] {
        let (text, _) = fixture.refused(settings);
        assert!(text.starts_with(message), "{settings:?}: {text}");
    }
    assert!(!fixture.path("out").exists(), "a plan writes nothing");
}

#[test]
fn the_steps_that_a_schedule_does_not_fit_are_told() {
    let (_, hint) = Fixture::new().refused(&["method=adalora", "tinit=30", "tfinal=12"]);
    assert_eq!(hint.unwrap(), "steps of this run: 40: 40 samples / (1 × 1), 1 epoch");
}

#[test]
fn problems_of_base_device_and_output_are_told_at_once() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path("out/checkpoint-3")).unwrap();
    let (text, _) = fixture.refused(&["base_model=nowhere", "device=toaster"]);
    assert!(text.starts_with("3 problems\n"), "{text}");
    for part in ["nowhere/config.json", "toaster", "`output_dir` holds an earlier run"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_earlier_run_is_not_overwritten_unless_asked() {
    for earlier in ["checkpoint-3", "final", "adapter"] {
        let fixture = Fixture::new();
        fs::create_dir_all(fixture.path("out").join(earlier)).unwrap();
        let (text, hint) = fixture.refused(&[]);
        let want = format!("run.toml:4: `output_dir` holds an earlier run: `DIR/out/{earlier}`");
        assert_eq!(text, want);
        assert!(hint.unwrap().contains("overwrite_output_dir=true"));
        fixture.plan(&["overwrite_output_dir=true"]).unwrap();
    }
}

#[test]
fn a_base_with_a_missing_part_is_refused_by_its_name() {
    let fixture = Fixture::new();
    let base = fixture.path("base");
    for missing in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::create_dir_all(&base).unwrap();
        for entry in fs::read_dir(repository().join("assets/tiny-llama")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, base.join(path.file_name().unwrap())).unwrap();
        }
        fs::remove_file(base.join(missing)).unwrap();
        let (text, hint) = fixture.refused(&[&format!("base_model={}", base.display())]);
        assert!(text.contains(&format!("DIR/base/{missing}")), "{missing}: {text}");
        assert!(hint.is_some());
    }
}

#[test]
fn what_may_not_be_meant_is_noted() {
    let fixture = Fixture::new();
    let notes = |settings: &[&str]| fixture.plan(settings).unwrap().notes().join("\n");
    assert_eq!(notes(&["period=8", "dtype=f32"]), "");
    assert!(notes(&["period=8"]).contains("a CPU emulates BF16"));
    assert!(notes(&["period=30"]).contains("only 1 of 5 slots end within 40 steps"));
    assert!(notes(&["period=8", "sequence_len=20"]).contains("cut at `sequence_len`"));
    fs::write(
        fixture.path("data.jsonl"),
        fs::read_to_string(fixture.path("data.jsonl")).unwrap() + "\nnot JSON\n",
    )
    .unwrap();
    assert!(notes(&["period=8", "skip_bad_lines=true"]).contains("1 left out as malformed"));
}

/// The examples must stay in order. Where the base is not on this machine, what needs no file is
/// checked.
#[test]
fn the_example_configurations_are_in_order() {
    let fixture = Fixture::new();
    let mut planned = 0;
    for entry in fs::read_dir(repository().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        let typed = TypedConfig::read(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        let base = repository().join(&typed.config.base_model);
        if !base.exists() {
            continue;
        }
        let local = |path: &str| repository().join(path).display().to_string();
        let mut typed = typed;
        typed.config.base_model = base;
        for dataset in typed.config.datasets.iter_mut().chain(&mut typed.config.test_datasets) {
            dataset.path = local(&dataset.path);
        }
        typed.config.output_dir = fixture.path("out");
        Plan::new(&typed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        planned += 1;
    }
    assert!(planned >= 1, "configs/tiny.toml is for the model of the repository");
}
