//! A run that is stopped keeps what it has done.

use std::error::Error;

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn::train::{Interrupter, LearnerSummary};
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::{Finished, Run};

use crate::failures::{Sabotage, sabotaged};
use crate::support::{bits, model};
use crate::{
    Make, STEPS, StopAt, adalora_with_dropout, checkpoint, course, dora_with_dropout, launch,
    lines, losia, planned, turn,
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

/// Where a stop lands depends on the threads: in a step, before the validation after it, or in that.
#[test]
fn a_stopped_run_validates_where_the_whole_one_does() {
    let _turn = turn();
    let whole = tempfile::tempdir().unwrap();
    let want_best = launch(planned(&losia, whole.path(), None)).unwrap().best.unwrap().0;
    let want = course(whole.path());
    for at in ["step 6/", "epoch 2/3  train", "step 18/", "epoch 3/3  train"] {
        let out = tempfile::tempdir().unwrap();
        let mut finished = stopped(&losia, out.path(), at);
        if finished.status == RunStatus::Interrupted {
            let from = finished.checkpoint.unwrap();
            finished = launch(planned(&losia, out.path(), Some(&from))).unwrap();
        }
        assert_eq!(course(out.path()), want, "stopped at {at}");
        assert_eq!(finished.best.unwrap().0, want_best);
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

/// There may be no memory for it, and whoever stops a run wants it to end.
#[test]
fn a_stopped_run_is_not_merged() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let unmergeable = |total: usize| sabotaged(dora_with_dropout(total), Sabotage::Panics);
    let finished = stopped(&unmergeable, out.path(), "step 3/");
    assert_eq!(finished.status, RunStatus::Interrupted);
    assert!(finished.model.is_none() && finished.adapter.is_none());
    assert_eq!(finished.checkpoint.unwrap(), checkpoint(out.path(), finished.steps));
}

/// Does with the interrupter what Burn's dashboard does: q stops, and is forgotten at the end.
struct Dashboard(Interrupter);

impl TrainingProgressLogger for Dashboard {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, _: &str, _: usize) {}
    fn update_split(&mut self, _: usize) {
        self.0.stop(Some("q"));
    }
    fn end_split(&mut self) {}
    fn end(&mut self) {}
    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererTraining for Dashboard {
    fn update_train(&mut self, _: MetricState) {}
    fn update_valid(&mut self, _: MetricState) {}
    fn on_train_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        self.0.reset();
        Ok(())
    }
}

impl EvaluationProgressLogger for Dashboard {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for Dashboard {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
    fn on_test_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}

impl MetricsRenderer for Dashboard {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}

#[test]
fn a_run_stopped_in_the_dashboard_stops() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let run = Run::new(model(), planned(&losia, out.path(), None)).unwrap();
    let dashboard = Dashboard(run.interrupter());
    let finished = run.launch(Some(Box::new(dashboard))).unwrap();
    assert_eq!(finished.status, RunStatus::Interrupted);
    assert!(finished.steps < STEPS);
}
