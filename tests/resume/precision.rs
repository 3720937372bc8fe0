//! Runs in half precision, on the device under test if it has it.

use std::path::Path;

use burn::tensor::{DType, Device};
use burn_peft::core::is_cpu;
use burn_peft::llama::CausalLm;
use burn_peft::train::run::Finished;
use peft_testing::device_with;

use crate::support::{bits, checkpoint as base};
use crate::{
    Make, STEPS, checkpoint, full, launch_on, losia, metrics, only, planned, saving, turn,
};

fn model(dtype: DType, device: &Device) -> CausalLm {
    base().load(device, Some(dtype), |_| ()).unwrap().0
}

fn losses(out: &Path) -> Vec<f64> {
    metrics(out).iter().filter_map(|line| line["loss"].as_f64()).collect()
}

/// Close to f32, and the same bits wherever it goes on from, which is promised of CPUs.
fn trains_and_resumes(make: Make, dtype: DType, bound: f64) {
    let (device, out) = (device_with(dtype), tempfile::tempdir().unwrap());
    launch_on(model(DType::F32, &device), only(planned(make, out.path(), None))).unwrap();
    let want = losses(out.path());

    let out = tempfile::tempdir().unwrap();
    let whole = launch_on(model(dtype, &device), only(saving(make, out.path(), 1))).unwrap();
    assert_eq!((whole.steps, whole.skipped_steps), (STEPS, 0), "{dtype:?}");
    for (got, want) in losses(out.path()).iter().zip(&want) {
        assert!((got - want).abs() < bound * want, "{dtype:?}: {got} against {want}");
    }
    let whole = bits(&whole.model.unwrap());
    for steps in [4, 12].into_iter().filter(|_| is_cpu(&device)) {
        let (from, out) = (checkpoint(out.path(), steps), tempfile::tempdir().unwrap());
        let plan = only(planned(make, out.path(), Some(&from)));
        let resumed = launch_on(model(dtype, &device), plan).unwrap();
        assert!(bits(&resumed.model.unwrap()) == whole, "{dtype:?} after a resume at {steps}");
    }
}

#[test]
fn half_precision_trains_close_to_f32_and_resumes_exactly() {
    let _turn = turn();
    for (dtype, bound) in [(DType::F16, 0.005), (DType::BF16, 0.03)] {
        trains_and_resumes(&full, dtype, bound);
        trains_and_resumes(&losia, dtype, bound);
    }
}

/// A model with gradients so large that the first loss scales are too high for f16.
fn steep(dtype: DType) -> CausalLm {
    let mut model = model(dtype, &device_with(dtype));
    model.model.norm.weight = model.model.norm.weight.map(|weight| weight.mul_scalar(50.0));
    model
}

fn run_steep(make: Make, out: &Path, resume: Option<&Path>) -> Finished {
    let mut plan = only(planned(make, out, resume));
    plan.config.max_nonfinite_steps = std::num::NonZeroUsize::MIN;
    plan.config.save_steps = std::num::NonZeroUsize::new(1);
    launch_on(steep(DType::F16), plan).unwrap()
}

#[test]
fn an_overflow_in_f16_lowers_the_loss_scale_and_is_no_failure() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let whole = run_steep(&full, out.path(), None);
    assert_eq!(whole.steps, STEPS, "a skipped step is made up for");
    let lines = metrics(out.path());
    let overflows: Vec<_> = lines.iter().filter(|line| line["skipped"] == true).collect();
    assert!(whole.skipped_steps > 1 && overflows.len() == whole.skipped_steps);
    for (count, line) in (1..).zip(&overflows) {
        assert!(line["loss"].is_number() && line["grad_norm"].is_null(), "{line}");
        assert_eq!(line["loss_scale"], 65_536.0 / f64::from(1 << count));
    }
    let want = bits(&whole.model.unwrap());
    let from = checkpoint(out.path(), 7);
    let other = tempfile::tempdir().unwrap();
    let resumed = run_steep(&full, other.path(), Some(&from));
    assert_eq!(resumed.skipped_steps, whole.skipped_steps, "with the scale it had");
    assert!(bits(&resumed.model.unwrap()) == want || !is_cpu(&device_with(DType::F16)));
}
