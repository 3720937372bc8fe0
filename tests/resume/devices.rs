//! Several devices: here one device, listed several times.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use burn_peft::core::device_by_name;
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::RunPlan;
use serde_json::Value;

use crate::evaluations::forget_validation;
use crate::evaluations::still;
use crate::support::{SAMPLES, bits, device, plan, train_config};
use crate::{
    Make, STEPS, adalora_with_dropout, checkpoint, dora_with_dropout, launch, losia, metrics, turn,
};

/// Three epochs whose steps take `batches` batches, shared by `devices` devices.
fn shared<'a>(
    make: Make,
    batches: usize,
    devices: usize,
    out: &'a Path,
    resume: Option<&'a Path>,
) -> RunPlan<'a> {
    let of = |n| NonZeroUsize::new(n).unwrap();
    let mut config = train_config(3);
    config.data_parallel_size = of(devices);
    config.gradient_accumulation_steps = of(batches / devices);
    let mut plan = plan(make(config.total_steps(SAMPLES)), config, out, resume);
    plan.devices = vec![device(); devices];
    plan
}

/// What a run ends with: its weights, and what it decided and measured at each step.
fn trained(plan: RunPlan) -> (BTreeMap<String, Vec<u32>>, Vec<Value>) {
    let out = plan.output_dir.to_owned();
    let model = launch(plan).unwrap().model.unwrap();
    let told = |line: Value| {
        let keys = ["step", "loss", "grad_norm", "events", "target_tokens", "eval_loss"];
        Value::Array(keys.map(|key| line[key].clone()).to_vec())
    };
    (bits(&model), metrics(&out).into_iter().map(told).collect())
}

/// An epoch has 11 batches: with two devices the last round has one batch, with three it has two,
/// and a step of four batches may end after one round of two.
fn equals_one_device(make: Make) {
    for (batches, devices) in [(2, 2), (4, 2), (3, 3)] {
        let outs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let want = trained(shared(make, batches, 1, outs[0].path(), None));
        let got = trained(shared(make, batches, devices, outs[1].path(), None));
        assert_eq!(got.1, want.1, "{batches} batches on {devices} devices");
        assert!(got.0 == want.0, "weights of {batches} batches on {devices} devices");
        let report = RunReport::read(outs[1].path()).unwrap();
        assert_eq!(report.device.matches(", ").count(), devices - 1, "{}", report.device);
    }
}

#[test]
fn several_devices_train_losia_as_one_does() {
    let _turn = turn();
    equals_one_device(&losia);
}

#[test]
fn several_devices_train_lora_as_one_does() {
    let _turn = turn();
    equals_one_device(&dora_with_dropout);
}

#[test]
fn several_devices_train_adalora_as_one_does() {
    let _turn = turn();
    equals_one_device(&adalora_with_dropout);
}

/// In the middle of an epoch, at its end, and with more or fewer devices than before.
#[test]
fn a_run_goes_on_with_any_number_of_devices() {
    let _turn = turn();
    for make in [&losia as Make, &adalora_with_dropout] {
        let whole = tempfile::tempdir().unwrap();
        let mut plan = shared(make, 2, 2, whole.path(), None);
        plan.config.save_steps = NonZeroUsize::new(1);
        let (want, _) = trained(plan);
        for (steps, devices) in [(4, 2), (12, 2), (4, 1), (17, 2)] {
            let from = checkpoint(whole.path(), steps);
            let out = tempfile::tempdir().unwrap();
            let resumed = launch(shared(make, 2, devices, out.path(), Some(&from))).unwrap();
            assert_eq!(resumed.steps, STEPS);
            assert!(bits(&resumed.model.unwrap()) == want, "at {steps} on {devices} devices");
        }
    }
}

/// A validation every second step, in epochs of 6, 3 and 4, a resume in the middle of one, and one at a
/// validation that was lost.
#[test]
fn several_devices_validate_where_one_does() {
    let _turn = turn();
    for (batches, devices, validations) in [(2, 2, 9), (4, 2, 5), (3, 3, 6)] {
        let outs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let trained = |devices: usize, resume: Option<&Path>| {
            let out = outs[devices.min(2) - 1].path();
            let mut plan = shared(&losia, batches, devices, out, resume);
            plan.config.save_steps = NonZeroUsize::new(1);
            plan.config.eval_steps = NonZeroUsize::new(2);
            trained(plan)
        };
        let want = trained(1, None);
        assert_eq!(want.1.iter().filter(|line| line[5].is_number()).count(), validations);
        assert!(trained(devices, None) == want, "{batches} batches on {devices} devices");
        let from = checkpoint(outs[1].path(), 5);
        assert!(trained(devices, Some(&from)) == want, "{batches} batches, resumed");
        forget_validation(outs[1].path(), 6);
        let from = checkpoint(outs[1].path(), 6);
        assert!(trained(devices, Some(&from)) == want, "{batches} batches, a validation killed");
    }
}

#[test]
fn several_devices_stop_early_where_one_does() {
    let _turn = turn();
    let stopped = |devices: usize| {
        let out = tempfile::tempdir().unwrap();
        let mut plan = shared(&still, 2, devices, out.path(), None);
        plan.config.eval_steps = NonZeroUsize::new(4);
        plan.config.early_stopping_patience = NonZeroUsize::new(2);
        let finished = launch(plan).unwrap();
        (finished.status, finished.steps, finished.notes)
    };
    let (status, steps, notes) = stopped(1);
    assert_eq!((status, steps, notes.len()), (RunStatus::Completed, 12, 1), "{notes:?}");
    assert_eq!(stopped(2), (status, steps, notes));
}

#[test]
fn devices_that_do_not_fit_are_refused() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let elsewhere = ["flex", "ndarray"].map(|name| device_by_name(name).unwrap());
    let elsewhere = elsewhere.into_iter().find(|other| *other != device()).unwrap();
    type Change<'a> = &'a dyn Fn(&mut RunPlan);
    let cases: [(Change, &str); 4] = [
        (&|plan| drop(plan.devices.pop()), "has 1 devices, and `data_parallel_size` is 2"),
        (&|plan| plan.devices.clear(), "has 1 devices, and `data_parallel_size` is 2"),
        (&|plan| plan.devices[0] = elsewhere.clone(), "the first device of the run is "),
        (&|plan| plan.train_samples.truncate(1), "1 training samples for 2 devices"),
    ];
    for (change, expected) in cases {
        let mut plan = shared(&losia, 2, 2, out.path(), None);
        change(&mut plan);
        let error = launch(plan).map(drop).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    }
}
