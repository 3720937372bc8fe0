//! Losses and gradients that are not finite.

use std::num::NonZeroUsize;
use std::path::Path;

use burn::tensor::Tensor;
use burn_peft::llama::CausalLm;
use burn_peft::train::data::Sample;
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::RunPlan;

use crate::support::{bits, model};
use crate::{STEPS, checkpoint, checkpoints, launch_on, losia, metrics, planned, turn};

/// A token whose embedding is no number, and which the samples otherwise do not have.
const POISON: u32 = 127;

fn poisoned_model() -> CausalLm {
    let mut model = model();
    model.model.embed_tokens.weight = model.model.embed_tokens.weight.map(|weight| {
        let [_, width] = weight.dims();
        let row = POISON as usize;
        let poison = Tensor::full([1, width], f32::NAN, &weight.device());
        weight.slice_assign([row..row + 1, 0..width], poison)
    });
    model
}

/// A plan in which a loss is no number once per epoch.
fn poisoned<'a>(out: &'a Path, resume: Option<&'a Path>) -> RunPlan<'a> {
    let mut plan = planned(&losia, out, resume);
    plan.train_samples[7].input_ids[2] = POISON;
    plan
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_counted() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let mut plan = poisoned(out.path(), None);
    plan.config.save_steps = NonZeroUsize::new(1);
    let finished = launch_on(poisoned_model(), plan).unwrap();
    assert_eq!(finished.status, RunStatus::Completed);
    assert_eq!((finished.steps, finished.skipped_steps), (STEPS - 3, 3));
    let lines = metrics(out.path());
    let skipped: Vec<_> = lines.iter().filter(|line| line["skipped"] == true).collect();
    assert_eq!(skipped.len(), 3);
    assert!(skipped[0]["loss"].is_null() && skipped[0]["grad_norm"].is_null());
    assert_eq!(skipped[2]["skipped_steps"], 3);
    let taken = lines.iter().filter(|line| line["loss"].is_number());
    assert!(taken.map(|line| line["step"].as_u64().unwrap()).eq(0..STEPS as u64 - 3));
    assert_eq!(RunReport::read(out.path()).unwrap().skipped_steps, 3);

    let want = bits(&finished.model.unwrap());
    for steps in [3, 8, 14] {
        let (from, other) = (checkpoint(out.path(), steps), tempfile::tempdir().unwrap());
        let plan = poisoned(other.path(), Some(&from));
        let resumed = launch_on(poisoned_model(), plan).unwrap();
        assert_eq!((resumed.steps, resumed.skipped_steps), (STEPS - 3, 3));
        assert_eq!(bits(&resumed.model.unwrap()), want, "after a resume at {steps}");
    }
}

#[test]
fn a_run_of_nothing_else_stops_with_its_last_good_checkpoint() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let mut plan = planned(&losia, out.path(), None);
    plan.config.max_nonfinite_steps = NonZeroUsize::new(2).unwrap();
    let poison = |sample: &mut Sample| sample.input_ids[0] = POISON;
    plan.train_samples.iter_mut().for_each(poison);
    let error = launch_on(poisoned_model(), plan).map(|_| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("at step 0: loss or gradients were not finite 2 times"), "{message}");
    assert!(message.contains("last good checkpoint is"), "{message}");
    assert!(error.hint().unwrap().contains("lower the learning rate"));
    assert_eq!(checkpoints(out.path()), [0]);
    let report = RunReport::read(out.path()).unwrap();
    assert_eq!((report.status, report.skipped_steps), (RunStatus::Failed, 2));
    assert_eq!(report.error, Some(message));
}
