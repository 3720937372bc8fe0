//! A run that is stopped keeps what it has done.

use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::{Finished, Run};

use crate::support::{bits, model};
use crate::{
    Make, STEPS, StopAt, adalora_with_dropout, checkpoint, dora_with_dropout, launch, lines, losia,
    planned, turn,
};

/// Stops a run that writes no checkpoints by itself at a line of its progress.
fn stopped(make: Make, out: &std::path::Path, at: &'static str) -> Finished {
    let run = Run::new(model(), planned(make, out, None)).unwrap();
    let interrupter = run.interrupter();
    run.launch(Some(lines(StopAt { at, interrupter }))).unwrap()
}

/// In the middle of an epoch, and in the validation after it.
#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let _turn = turn();
    for make in [&losia as Make, &dora_with_dropout, &adalora_with_dropout] {
        let whole = tempfile::tempdir().unwrap();
        let want = bits(&launch(planned(make, whole.path(), None)).unwrap().model.unwrap());
        for at in ["step 3/", "epoch 2/3  train"] {
            let out = tempfile::tempdir().unwrap();
            let finished = stopped(make, out.path(), at);
            assert_eq!(finished.status, RunStatus::Interrupted);
            assert!(finished.steps < STEPS);
            let from = finished.checkpoint.unwrap();
            assert_eq!(from, checkpoint(out.path(), finished.steps));
            let report = RunReport::read(out.path()).unwrap();
            assert_eq!((report.status, report.steps), (RunStatus::Interrupted, finished.steps));
            let resumed = launch(planned(make, out.path(), Some(&from))).unwrap();
            assert_eq!(bits(&resumed.model.unwrap()), want, "stopped at {at}");
        }
    }
}

#[test]
fn a_run_stopped_before_its_first_step_can_be_resumed() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let run = Run::new(model(), planned(&losia, out.path(), None)).unwrap();
    run.interrupter().stop(None);
    let finished = run.launch(Some(lines(std::io::sink()))).unwrap();
    assert_eq!((finished.status, finished.steps), (RunStatus::Interrupted, 0));
    let from = finished.checkpoint.unwrap();
    assert_eq!(launch(planned(&losia, out.path(), Some(&from))).unwrap().steps, STEPS);
}

#[test]
fn ranks_that_are_not_decided_are_not_merged() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let finished = stopped(&adalora_with_dropout, out.path(), "step 3/");
    assert!(finished.model.is_none() && finished.adapter.is_none());
    assert!(finished.checkpoint.is_some());
    let out = tempfile::tempdir().unwrap();
    let finished = stopped(&dora_with_dropout, out.path(), "step 3/");
    assert!(finished.model.is_some() && finished.adapter.is_some());
}
