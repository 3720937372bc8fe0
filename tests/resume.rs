//! A resumed run ends with the same bits as an uninterrupted one.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::lora::{Lora, LoraConfig};
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::{Method, TunerConfig, device_by_name};
use burn_peft::llama::{CausalLm, Checkpoint};
use burn_peft::train::Error;
use burn_peft::train::data::Sample;
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::RunStatus;
use burn_peft::train::run::{Finished, Run, RunPlan, TrainConfig};
use serde_json::Value;

const SAMPLES: usize = 22;
const PERIOD: usize = 3;

fn device() -> Device {
    let name = std::env::var("BURN_PEFT_TEST_DEVICE").unwrap_or_else(|_| "ndarray".into());
    device_by_name(&name).expect("BURN_PEFT_TEST_DEVICE names a compiled backend")
}

/// Made-up sequences of different lengths, half of each masked out of the loss.
fn samples() -> Vec<Sample> {
    let sample = |index: usize| {
        let ids = (0..6 + index % 5).map(|at| ((index * 31 + at * at * 7) % 128) as u32);
        let input_ids: Vec<u32> = ids.collect();
        let label = |(at, &id): (usize, &u32)| if at < 3 { -100 } else { i64::from(id) };
        let labels = input_ids.iter().enumerate().map(label).collect();
        Sample { input_ids, labels }
    };
    (0..SAMPLES).map(sample).collect()
}

fn model() -> CausalLm {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/llama_tiny");
    Checkpoint::open(dir).unwrap().load(&device(), None, |_| ()).unwrap().0
}

fn train_config() -> TrainConfig {
    let of = |n| NonZeroUsize::new(n).unwrap();
    TrainConfig {
        micro_batch_size: of(2),
        gradient_accumulation_steps: of(2),
        num_epochs: of(3),
        group_by_length: true,
        save_steps: Some(of(1)),
        seed: 4,
        ..TrainConfig::default()
    }
}

/// A method for a run of that many steps, and its configuration.
type Make<'a> = &'a dyn Fn(usize) -> (Box<dyn Method>, Value);

fn losia(period: usize) -> impl Fn(usize) -> (Box<dyn Method>, Value) {
    move |total| {
        let losia = LosiaConfig::new(total)
            .with_period(period)
            .with_rank_factor(0.25)
            .with_learning_rate(2e-3)
            .with_output_head(Some("lm_head.weight".into()))
            .with_output_dim_factor(0.25)
            .with_weight_decay(0.01);
        let config = serde_json::to_value(&losia).unwrap();
        (Box::new(Losia::new(losia).unwrap()), config)
    }
}

fn dora_with_dropout(total: usize) -> (Box<dyn Method>, Value) {
    let dora =
        LoraConfig::new(total).with_learning_rate(5e-3).with_use_dora(true).with_lora_dropout(0.2);
    let config = serde_json::to_value(&dora).unwrap();
    (Box::new(Lora::new(dora).unwrap()), config)
}

fn adalora_with_dropout(total: usize) -> (Box<dyn Method>, Value) {
    let adalora = AdaLoraConfig::new(total)
        .with_init_r(4)
        .with_target_r(2)
        .with_tinit(2)
        .with_tfinal(5)
        .with_delta_t(3)
        .with_learning_rate(5e-3)
        .with_lora_dropout(0.2);
    let config = serde_json::to_value(&adalora).unwrap();
    (Box::new(AdaLora::new(adalora).unwrap()), config)
}

fn run(out: &Path, make: Make, resume: Option<&Path>) -> Result<Finished, Error> {
    let config = train_config();
    let total = config.total_steps(SAMPLES);
    let (method, method_config) = make(total);
    let lines = LinesOptions {
        samples_per_step: NonZeroUsize::MIN,
        total_steps: total,
        logging_steps: NonZeroUsize::MIN,
    };
    let renderer = LinesRenderer::new(std::io::sink(), lines);
    let plan = RunPlan {
        method,
        method_config,
        tuner_config: TunerConfig {
            modules_to_save: vec!["model.norm".into(), "input_layernorm".into()],
            ..TunerConfig::default()
        },
        config,
        train_samples: samples(),
        valid_samples: samples()[..2].to_vec(),
        output_dir: out,
        resume_from: resume,
    };
    Run::new(model(), plan)?.launch(Some(Box::new(renderer)))
}

/// Bits of every weight.
fn bits(model: &CausalLm) -> BTreeMap<String, Vec<u32>> {
    #[derive(Default)]
    struct Collect(Vec<String>, BTreeMap<String, Vec<u32>>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let bits = param.base().into_data().iter::<f32>().map(f32::to_bits).collect();
            self.1.insert(self.0.join("."), bits);
        }
    }
    let mut collect = Collect::default();
    model.visit(&mut collect);
    collect.1
}

fn checkpoint(out: &Path, steps: usize) -> PathBuf {
    out.join(format!("checkpoint-{steps}"))
}

/// 18 steps of three epochs of 6: in the middle of a slot and of an epoch, at the end of a slot, at
/// the end of an epoch, before and after AdaLoRA's last cut, one step before the end, and after it.
fn resumes_anywhere(make: Make) {
    let whole = tempfile::tempdir().unwrap();
    let finished = run(whole.path(), make, None).unwrap();
    assert_eq!((finished.status, finished.steps), (RunStatus::Completed, 18));
    let want = bits(&finished.model);
    assert_ne!(want, bits(&model()), "training must change something");
    for steps in [4, 9, 12, 17, 18] {
        let out = tempfile::tempdir().unwrap();
        let resumed = run(out.path(), make, Some(&checkpoint(whole.path(), steps))).unwrap();
        assert_eq!(resumed.steps, 18);
        let got = bits(&resumed.model);
        for (name, want) in &want {
            assert_eq!(&got[name], want, "{name} after a resume at {steps}");
        }
    }
}

/// Dropout draws from the device's generator, which a process has one of: runs take turns.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn resuming_anywhere_gives_the_same_bits() {
    let _turn = TURN.lock();
    resumes_anywhere(&losia(PERIOD));
    resumes_anywhere(&dora_with_dropout);
    resumes_anywhere(&adalora_with_dropout);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let _turn = TURN.lock();
    let [a, b] = [(); 2].map(|()| {
        let out = tempfile::tempdir().unwrap();
        bits(&run(out.path(), &losia(PERIOD), None).unwrap().model)
    });
    assert_eq!(a, b);
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let _turn = TURN.lock();
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &losia(PERIOD), None).unwrap();
    let from = checkpoint(out.path(), 4);
    let other = tempfile::tempdir().unwrap();
    let error = run(other.path(), &losia(PERIOD + 1), Some(&from)).map(|_| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`config.method.period` = 3, but this run has 4"), "{message}");
    assert!(error.hint().is_some());

    let state = from.join("state.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    let error = run(other.path(), &losia(PERIOD), Some(&from)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("state.safetensors"), "{error}");
    std::fs::remove_file(from.join("manifest.json")).unwrap();
    let error = run(other.path(), &losia(PERIOD), Some(&from)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("manifest.json"), "{error}");
}
