//! Validations within epochs.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn_peft::train::progress::{LinesOptions, LinesRenderer};
use burn_peft::train::report::RunReport;
use burn_peft::train::run::{Run, RunPlan};

use crate::support::{SAMPLES, bits, model, plan, train_config};
use crate::{
    STEPS, checkpoint, checkpoints, course, dora_with_dropout, launch, losia, planned, turn,
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
