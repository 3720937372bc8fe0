//! Losses and gradients that are not finite.

use std::num::NonZeroUsize;
use std::path::Path;

use burn::tensor::Tensor;
use burn_peft::core::Method;
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::schedule::DenseSchedule;
use burn_peft::llama::CausalLm;
use burn_peft::train::data::epoch_order;
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::RunPlan;
use serde_json::{Value, json};

use crate::evaluations::validated;
use crate::support::{SAMPLES, bits, model};
use crate::{
    Make, STEPS, checkpoint, checkpoints, course, launch, launch_on, losia, metrics, only, planned,
    turn,
};

/// A token whose embedding is no number, and which the samples otherwise do not have.
const POISON: u32 = 127;
/// Steps that are skipped in a [`poisoned`] run.
const SKIPPED: usize = 3;

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
fn poisoned<'a>(make: Make, out: &'a Path, resume: Option<&'a Path>) -> RunPlan<'a> {
    let mut plan = planned(make, out, resume);
    plan.train_samples[7].input_ids[2] = POISON;
    plan
}

/// AdaLoRA whose last cut is made at the last step.
fn adalora(total: usize) -> (Box<dyn Method>, Value) {
    let adalora = AdaLoraConfig::new(total)
        .with_init_r(4)
        .with_target_r(2)
        .with_tinit(2)
        .with_delta_t(3)
        .with_learning_rate(5e-3);
    let config = serde_json::to_value(&adalora).unwrap();
    (Box::new(AdaLora::new(adalora).unwrap()), config)
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_counted() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let finished = launch_on(poisoned_model(), poisoned(&losia, out.path(), None)).unwrap();
    assert_eq!((finished.steps, finished.skipped_steps), (STEPS, SKIPPED));
    let lines = metrics(out.path());
    let skipped: Vec<_> = lines.iter().filter(|line| line["skipped"] == true).collect();
    assert_eq!(skipped.len(), SKIPPED);
    assert!(skipped[0]["loss"].is_null() && skipped[0]["grad_norm"].is_null());
    assert_eq!(skipped[2]["skipped_steps"], 3);
    let taken = lines.iter().filter(|line| line["loss"].is_number());
    assert!(taken.map(|line| line["step"].as_u64().unwrap()).eq(1..=STEPS as u64));
    for key in ["step", "windows"] {
        assert!(lines.is_sorted_by_key(|line| line[key].as_u64().unwrap()), "{key}");
    }
    assert_eq!(RunReport::read(out.path()).unwrap().skipped_steps, SKIPPED);
}

/// Every step is taken, the last ones in a fourth epoch, and the decisions of the last step with it.
fn takes_all_steps(make: Make) {
    let out = tempfile::tempdir().unwrap();
    let mut plan = poisoned(make, out.path(), None);
    plan.config.save_steps = NonZeroUsize::new(1);
    let finished = launch_on(poisoned_model(), plan).unwrap();
    assert_eq!((finished.status, finished.steps), (RunStatus::Completed, STEPS));
    let want = bits(&finished.model.unwrap());
    for steps in [3, 8, 14, 15, 16, STEPS] {
        let (from, other) = (checkpoint(out.path(), steps), tempfile::tempdir().unwrap());
        let plan = poisoned(make, other.path(), Some(&from));
        let resumed = launch_on(poisoned_model(), plan).unwrap();
        assert_eq!((resumed.steps, resumed.skipped_steps), (STEPS, SKIPPED));
        assert_eq!(bits(&resumed.model.unwrap()), want, "after a resume at {steps}");
    }
}

#[test]
fn steps_that_were_skipped_are_made_up_for() {
    let _turn = turn();
    takes_all_steps(&losia);
    takes_all_steps(&adalora);
}

/// The first epoch ends with a skipped step: there is a checkpoint before the validation, as at the
/// end of every epoch, and a resume from it keeps that validation and the skipped step.
#[test]
fn a_skipped_step_at_the_end_of_an_epoch_is_saved_and_stays_in_the_log() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let launch = |resume: Option<&Path>| {
        let mut plan = planned(&losia, out.path(), resume);
        let last = *epoch_order(plan.config.seed, 0, SAMPLES).last().unwrap();
        plan.train_samples[last].input_ids[2] = POISON;
        plan.config.group_by_length = false;
        plan.config.save_steps = NonZeroUsize::new(100);
        launch_on(poisoned_model(), plan).unwrap()
    };
    launch(None);
    let (want, best) = (course(out.path()), RunReport::read(out.path()).unwrap().best_eval_loss);
    let first = want.iter().find(|line| !line[3].is_null()).unwrap();
    assert_eq!((first[0].as_u64(), first[1].as_u64()), (Some(5), Some(6)));
    assert!(checkpoints(out.path()).starts_with(&[5]), "{:?}", checkpoints(out.path()));
    launch(Some(&checkpoint(out.path(), 5)));
    assert_eq!(course(out.path()), want);
    assert_eq!(RunReport::read(out.path()).unwrap().best_eval_loss, best);
}

/// 21 windows for 18 steps.
#[test]
fn validations_count_skipped_steps() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let launch = |resume: Option<&Path>| {
        let mut plan = poisoned(&losia, out.path(), resume);
        plan.config.save_steps = NonZeroUsize::new(1);
        plan.config.eval_steps = NonZeroUsize::new(4);
        launch_on(poisoned_model(), plan).unwrap()
    };
    let weights = bits(&launch(None).model.unwrap());
    let want = course(out.path());
    assert_eq!(validated(out.path()), [4, 8, 12, 16, 20, 21]);
    for steps in [3, 5, 9, 15, 17, STEPS] {
        let resumed = launch(Some(&checkpoint(out.path(), steps)));
        assert_eq!(course(out.path()), want, "after a resume at {steps}");
        assert_eq!(bits(&resumed.model.unwrap()), weights, "after a resume at {steps}");
    }
}

fn poison_all_but(healthy: Option<usize>, plan: &mut RunPlan<'_>) {
    for (index, sample) in plan.train_samples.iter_mut().enumerate() {
        if Some(index) != healthy {
            sample.input_ids[0] = POISON;
        }
    }
}

#[test]
fn a_model_that_answers_nothing_is_refused_before_the_first_step() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let mut plan = planned(&losia, out.path(), None);
    poison_all_but(None, &mut plan);
    let error = launch_on(poisoned_model(), plan).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("logits are not finite"), "{error}");
    assert!(error.hint().unwrap().contains("a file is damaged"));
    assert!(!out.path().join("metrics.jsonl").exists());
}

/// The data is to blame: what is trained so far is kept, and goes on behind it.
#[test]
fn a_run_of_nothing_else_stops_with_a_checkpoint() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let mut plan = planned(&losia, out.path(), None);
    plan.config.max_nonfinite_steps = NonZeroUsize::new(2).unwrap();
    poison_all_but(Some(3), &mut plan);
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

/// Full fine-tuning whose learning rate rises from 0 to beyond all reason: the state after the second
/// step is finite, and its logits are not.
fn exploding(total: usize) -> (Box<dyn Method>, Value) {
    let schedule = DenseSchedule::new(total, 1.0, 1.0);
    let full = Full { learning_rate: 1e16, schedule, target_modules: None };
    (Box::new(full), json!({ "learning_rate": 1e16 }))
}

#[test]
fn a_state_without_answers_takes_no_checkpoints_place() {
    let _turn = turn();
    for (save_steps, kept) in [(1, vec![1]), (100, vec![])] {
        let out = tempfile::tempdir().unwrap();
        let mut plan = only(planned(&exploding, out.path(), None));
        plan.config.save_steps = NonZeroUsize::new(save_steps);
        plan.config.save_total_limit = NonZeroUsize::new(1);
        plan.config.max_nonfinite_steps = NonZeroUsize::new(2).unwrap();
        let error = launch(plan).map(|_| ()).unwrap_err();
        let (message, hint) = (error.to_string(), error.hint().unwrap());
        assert!(message.contains("training diverged at step 2"), "{message}");
        assert_eq!(checkpoints(out.path()), kept, "{message}");
        assert_eq!(message.contains("checkpoint-1`"), !kept.is_empty(), "{message}");
        assert_eq!(hint.contains("can also be merged"), !kept.is_empty(), "{hint}");
    }
}
