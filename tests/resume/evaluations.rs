//! Validations within epochs.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn_peft::core::Method;
use burn_peft::core::adapter::lora::{Lora, LoraConfig};
use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::{Finished, Run, RunPlan};
use serde_json::Value;

use crate::support::{SAMPLES, bits, model, plan, train_config};
use crate::{
    STEPS, adalora_with_dropout, checkpoint, checkpoints, course, dora_with_dropout, launch, lines,
    losia, metrics, planned, turn,
};

/// Windows after which there was a validation.
pub fn validated(out: &Path) -> Vec<u64> {
    let lines = course(out).into_iter().filter(|[_, _, _, eval_loss, ..]| eval_loss.is_number());
    lines.map(|[_, windows, ..]| windows.as_u64().unwrap()).collect()
}

/// Epochs of six steps, a validation after every fourth.
fn validating<'a>(out: &'a Path, resume: Option<&'a Path>) -> RunPlan<'a> {
    let mut plan = planned(&losia, out, resume);
    plan.config.eval_steps = NonZeroUsize::new(4);
    plan
}

#[test]
fn validations_change_no_weight() {
    let _turn = turn();
    for make in [&losia as crate::Make, &dora_with_dropout] {
        let outs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let want = launch(planned(make, outs[0].path(), None)).unwrap().model.unwrap();
        assert_eq!(validated(outs[0].path()), [6, 12, 18]);
        let mut plan = planned(make, outs[1].path(), None);
        plan.config.eval_steps = NonZeroUsize::new(4);
        let got = launch(plan).unwrap().model.unwrap();
        assert_eq!(validated(outs[1].path()), [4, 8, 12, 16, 18]);
        assert_eq!(bits(&got), bits(&want));
    }
}

/// At a validation, between it and the end of an epoch, at that end, and at the run's.
#[test]
fn a_resumed_run_validates_where_the_whole_one_does() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let launch = |resume: Option<&Path>| {
        let mut plan = validating(out.path(), resume);
        plan.config.save_steps = NonZeroUsize::new(1);
        launch(plan).unwrap()
    };
    let whole = launch(None);
    let (want, weights) = (course(out.path()), bits(&whole.model.unwrap()));
    for steps in [4, 5, 6, 7, 12, 17, STEPS] {
        let resumed = launch(Some(&checkpoint(out.path(), steps)));
        assert_eq!(course(out.path()), want, "after a resume at {steps}");
        assert_eq!(bits(&resumed.model.unwrap()), weights, "after a resume at {steps}");
        assert_eq!(resumed.best, whole.best);
    }
}

/// A run with a checkpoint of every step.
fn whole(out: &Path) -> Finished {
    let mut plan = validating(out, None);
    plan.config.save_steps = NonZeroUsize::new(1);
    launch(plan).unwrap()
}

/// Leaves in the log what a kill in the validation after `steps` steps would.
pub fn forget_validation(out: &Path, steps: usize) {
    rewrite(out, |line| {
        let is_earlier = line["step"].as_u64().unwrap() <= steps as u64;
        let is_lost = line["step"] == steps && line["eval_loss"].is_number();
        (is_earlier && !is_lost).then(|| line.clone())
    });
}

/// Changes the lines of the log.
fn rewrite(out: &Path, change: impl Fn(&Value) -> Option<Value>) {
    let lines = metrics(out);
    let lines = lines.iter().filter_map(change).map(|line| format!("{line}\n"));
    std::fs::write(out.join("metrics.jsonl"), lines.collect::<String>()).unwrap();
}

/// Within an epoch, at the end of one, and at the run's, when no step is left.
#[test]
fn a_validation_that_a_kill_prevented_is_made_up_for() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let uninterrupted = whole(out.path());
    let (want, weights) = (course(out.path()), bits(&uninterrupted.model.unwrap()));
    for steps in [STEPS, 12, 4] {
        forget_validation(out.path(), steps);
        let resumed = launch(validating(out.path(), Some(&checkpoint(out.path(), steps)))).unwrap();
        assert_eq!(course(out.path()), want, "killed in the validation after {steps}");
        assert_eq!(bits(&resumed.model.unwrap()), weights);
        assert_eq!(resumed.best.unwrap().0, uninterrupted.best.as_ref().unwrap().0);
    }
}

#[test]
fn a_run_stopped_before_its_last_validation_is_not_completed() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    whole(out.path());
    let want = course(out.path());
    forget_validation(out.path(), STEPS);
    let last = checkpoint(out.path(), STEPS);
    let run = Run::new(model(), validating(out.path(), Some(&last))).unwrap();
    run.interrupter().stop(None);
    let finished = run.launch(Some(lines(std::io::sink()))).unwrap();
    assert_eq!((finished.status, finished.steps), (RunStatus::Interrupted, STEPS));
    let resumed = launch(validating(out.path(), Some(&last))).unwrap();
    assert_eq!(resumed.status, RunStatus::Completed);
    assert_eq!(course(out.path()), want);
}

/// A loss on easier samples is not the lowest of those on others.
#[test]
fn the_best_is_the_best_on_what_is_validated_on_now() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    whole(out.path());
    rewrite(out.path(), |line| {
        let mut line = line.clone();
        if line["step"] == 4 && line["eval_loss"].is_number() {
            line["eval_loss"] = 0.5.into();
        }
        Some(line)
    });
    let from = checkpoint(out.path(), 8);
    let on = |samples: std::ops::Range<usize>| {
        let mut plan = validating(out.path(), Some(&from));
        plan.valid_samples = crate::support::samples()[samples].to_vec();
        launch(plan).unwrap().best.unwrap().0
    };
    assert_eq!(on(0..3), 0.5);
    assert!(on(3..6) > 0.5);
    assert_eq!(validated(out.path()), [4, 8, 8, 12, 16, 18], "also where the resume begins");
    assert_eq!(on(0..3), 0.5, "what is validated on again is known again");
}

/// Never gets better: nothing changes.
pub fn still(total: usize) -> (Box<dyn Method>, Value) {
    let lora = LoraConfig::new(total).with_learning_rate(0.0);
    let config = serde_json::to_value(&lora).unwrap();
    (Box::new(Lora::new(lora).unwrap()), config)
}

fn patient<'a>(
    make: crate::Make,
    patience: usize,
    out: &'a Path,
    resume: Option<&'a Path>,
) -> RunPlan<'a> {
    let mut plan = planned(make, out, resume);
    plan.config.eval_steps = NonZeroUsize::new(4);
    plan.config.save_steps = NonZeroUsize::new(1);
    plan.config.early_stopping_patience = NonZeroUsize::new(patience);
    plan
}

#[test]
fn a_run_that_gets_no_better_is_completed_early_wherever_it_was_resumed() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let launch = |resume: Option<&Path>| launch(patient(&still, 2, out.path(), resume)).unwrap();
    let stopped = launch(None);
    assert_eq!((stopped.status, stopped.steps), (RunStatus::Completed, 12));
    assert!(stopped.model.is_some());
    let (loss, best) = stopped.best.clone().unwrap();
    assert_eq!(best, Some(checkpoint(out.path(), 4)));
    let note = format!(
        "stopped early, after 12 of 18 steps: 2 validations in a row found no loss below the \
         {loss:.4} after step 4"
    );
    assert_eq!(stopped.notes, [&*note]);
    let want = course(out.path());
    for steps in [12, 9, 8, 3] {
        let resumed = launch(Some(&checkpoint(out.path(), steps)));
        assert_eq!((resumed.status, resumed.steps), (RunStatus::Completed, 12));
        assert_eq!(course(out.path()), want, "after a resume at {steps}");
        assert_eq!(resumed.notes, [&*note]);
        assert_eq!(RunReport::read(out.path()).unwrap().notes, [&*note]);
    }
}

#[test]
fn a_run_that_gets_better_takes_all_its_steps() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let finished = launch(patient(&losia, 1, out.path(), None)).unwrap();
    assert_eq!((finished.status, finished.steps), (RunStatus::Completed, STEPS));
    assert!(finished.notes.is_empty());
    let lines = metrics(out.path());
    let losses: Vec<_> = lines.iter().filter_map(|line| line["eval_loss"].as_f64()).collect();
    assert!(losses.len() == 5 && losses.is_sorted_by(|a, b| a > b), "{losses:?}");
}

#[test]
fn a_run_that_cannot_stop_early_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let error = launch(patient(&adalora_with_dropout, 2, out.path(), None)).map(drop).unwrap_err();
    assert!(error.to_string().contains("no setting of `adalora`"), "{error}");
    let mut plan = patient(&losia, 2, out.path(), None);
    plan.config.eval_steps = None;
    plan.valid_samples.clear();
    let error = launch(plan).map(drop).unwrap_err().to_string();
    assert_eq!(error, "`early_stopping_patience` is 2, but there is nothing to validate on");
}

#[test]
fn a_run_is_validated_at_its_end_wherever_that_is() {
    let _turn = turn();
    for (eval_steps, want) in [(4, &[4, 5][..]), (5, &[5]), (100, &[5]), (0, &[])] {
        let out = tempfile::tempdir().unwrap();
        let mut config = train_config(3);
        config.max_steps = Some(5);
        config.eval_steps = NonZeroUsize::new(eval_steps);
        launch(plan(losia(5), config, out.path(), None)).unwrap();
        assert_eq!(validated(out.path()), want, "every {eval_steps}");
    }
}

#[test]
fn the_best_of_all_validations_is_kept() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let mut plan = validating(out.path(), None);
    plan.config.save_steps = NonZeroUsize::new(100);
    plan.config.save_total_limit = NonZeroUsize::new(1);
    let (best_loss, best) = launch(plan).unwrap().best.unwrap();
    let losses = course(out.path()).into_iter().filter_map(|line| {
        let [step, _, _, eval_loss, ..] = line;
        Some((eval_loss.as_f64()?, step.as_u64()? as usize))
    });
    let (lowest, steps) = losses.min_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap();
    assert_eq!((best_loss, best), (lowest, Some(checkpoint(out.path(), steps))));
    assert_eq!(RunReport::read(out.path()).unwrap().best_eval_loss, Some(lowest));
    let mut kept = vec![steps, STEPS];
    kept.dedup();
    assert_eq!(checkpoints(out.path()), kept);
}

#[test]
fn a_run_without_what_to_validate_on_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let mut plan = validating(out.path(), None);
    plan.valid_samples.clear();
    let error = launch(plan).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "`eval_steps` is 4, but there is nothing to validate on");
    assert!(error.hint().unwrap().contains("val_set_size"));
}

/// Lines that another thread reads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn progress_counts_epochs_of_the_data() {
    let _turn = turn();
    let (out, lines) = (tempfile::tempdir().unwrap(), Lines::default());
    let plan = validating(out.path(), None);
    let renderer = LinesRenderer::new(lines.clone(), LinesOptions::new(&plan.config, SAMPLES));
    Run::new(model(), plan).unwrap().launch(Some(Box::new(renderer))).unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    // `epoch 1/3  step 2/18  loss …`, `epoch 1/3  valid  loss …`
    let told = text.lines().map(|line| line.split("  ").take(2).collect::<Vec<_>>().join(" "));
    let told: Vec<_> = told.filter(|line| !line.ends_with("train")).collect();
    let mut want = Vec::new();
    for step in 1..=STEPS {
        let epoch = (step - 1) / 6 + 1;
        want.push(format!("epoch {epoch}/3 step {step}/{STEPS}"));
        if step % 4 == 0 || step == STEPS {
            want.push(format!("epoch {epoch}/3 valid"));
        }
    }
    assert_eq!(told, want);
}
