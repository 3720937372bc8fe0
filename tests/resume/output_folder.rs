//! What a run keeps in its output folder, and what it does not touch.

use std::num::NonZeroUsize;

use burn_peft::train::report::{RunReport, RunStatus, write_report};
use burn_peft::train::run::{Run, TrainConfig};
use serde_json::Value;

use crate::support::model;
use crate::{
    STEPS, checkpoint, checkpoints, configured, dora_with_dropout, launch, losia, metrics, planned,
    saving, turn,
};

#[test]
fn the_newest_checkpoints_and_the_best_are_kept() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let finished = launch(configured(&losia, out.path(), &|config| {
        config.save_steps = NonZeroUsize::new(4);
        config.save_total_limit = NonZeroUsize::new(1);
    }))
    .unwrap();
    let losses = metrics(out.path()).into_iter().filter_map(|line| line["eval_loss"].as_f64());
    let losses: Vec<f64> = losses.collect();
    assert_eq!(losses.len(), 3, "every epoch is validated, the last one too");
    let (best_loss, best) = finished.best.unwrap();
    assert_eq!(best_loss, losses.iter().copied().fold(f64::INFINITY, f64::min));
    let epoch = losses.iter().position(|loss| *loss == best_loss).unwrap();
    assert_eq!(best, Some(checkpoint(out.path(), 6 * (epoch + 1))));
    let mut kept = vec![6 * (epoch + 1), STEPS];
    kept.dedup();
    assert_eq!(checkpoints(out.path()), kept);
    assert_eq!(finished.checkpoint, Some(checkpoint(out.path(), STEPS)));
}

#[test]
fn a_resumed_run_knows_the_best_of_before() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let want = launch(saving(&losia, out.path(), 4)).unwrap().best;
    let from = checkpoint(out.path(), 16);
    let mut plan = planned(&losia, out.path(), Some(&from));
    plan.config.save_steps = NonZeroUsize::new(4);
    let resumed = launch(plan).unwrap();
    assert_eq!(resumed.best, want);
}

/// A kill before the next checkpoint would otherwise leave one whose lines are gone.
#[test]
fn later_checkpoints_go_before_their_lines() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 6)).unwrap();
    let from = checkpoint(out.path(), 12);
    drop(Run::new(model(), planned(&losia, out.path(), Some(&from))).unwrap());
    assert_eq!(checkpoints(out.path()), [6, 12]);
    assert_eq!(metrics(out.path()).last().unwrap()["step"], 12);
}

#[test]
fn a_finished_run_that_is_resumed_keeps_its_speed_and_time() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 6)).unwrap();
    let pace = || {
        let report = RunReport::read(out.path()).unwrap();
        assert_eq!(report.status, RunStatus::Completed);
        (report.seconds, report.tokens_per_second)
    };
    let want = pace();
    assert!(want.0 > 0.0 && want.1 > 0.0, "{want:?}");
    launch(planned(&losia, out.path(), Some(&checkpoint(out.path(), STEPS)))).unwrap();
    assert_eq!(pace(), want);
    launch(planned(&losia, out.path(), Some(&checkpoint(out.path(), 12)))).unwrap();
    assert_ne!(pace(), want);
}

#[test]
fn checkpoints_of_an_earlier_run_are_removed_only_when_asked() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 6)).unwrap();
    let error = launch(planned(&losia, out.path(), None)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("checkpoint-18"), "{error}");
    assert!(error.hint().unwrap().contains("overwrite_output_dir"));
    assert_eq!(checkpoints(out.path()), [6, 12, STEPS]);

    // Going on from elsewhere is no leave to mix two runs either.
    let (from, elsewhere) = (checkpoint(out.path(), 12), tempfile::tempdir().unwrap());
    launch(saving(&losia, elsewhere.path(), 6)).unwrap();
    let plan = planned(&losia, elsewhere.path(), Some(&from));
    let error = launch(plan).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("holds another run"), "{error}");

    let overwriting = configured(&losia, out.path(), &|config| {
        config.overwrite_output_dir = true;
    });
    for name in ["adapter", "final"] {
        std::fs::create_dir(out.path().join(name)).unwrap();
    }
    launch(overwriting).unwrap();
    assert_eq!(checkpoints(out.path()), [STEPS], "its own");
    assert!(!out.path().join("final").exists() && !out.path().join("adapter").exists());
}

#[test]
fn results_of_an_earlier_run_are_not_removed_unasked() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    std::fs::create_dir(out.path().join("final")).unwrap();
    let error = launch(planned(&losia, out.path(), None)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("holds another run") && error.contains("final"), "{error}");
    assert!(out.path().join("final").exists());
}

#[test]
fn a_base_model_is_not_removed_by_its_run() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let base = out.path().join("final");
    std::fs::create_dir(&base).unwrap();
    let mut plan = configured(&losia, out.path(), &|config| config.overwrite_output_dir = true);
    plan.base.as_mut().unwrap().dir = base.clone();
    let error = launch(plan).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("among what this run would remove"), "{error}");
    assert!(error.hint().is_some() && base.exists());
}

/// Its losses are not those of the run, and its best is not of it.
#[test]
fn a_run_that_goes_on_from_elsewhere_begins_its_log() {
    let _turn = turn();
    let outs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [from, out] = outs.each_ref().map(|out| out.path());
    launch(saving(&losia, from, 6)).unwrap();
    let line = "{\"step\":1,\"windows\":1,\"eval_loss\":0.0}\n";
    std::fs::write(out.join("metrics.jsonl"), line).unwrap();
    let finished = launch(planned(&losia, out, Some(&checkpoint(from, 12)))).unwrap();
    assert!(finished.best.unwrap().0 > 0.0);
    assert_eq!(metrics(out)[0]["step"], 13);
}

#[test]
fn every_run_ends_with_a_checkpoint() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let finished = launch(planned(&losia, out.path(), None)).unwrap();
    assert_eq!(finished.checkpoint, Some(checkpoint(out.path(), STEPS)));
    assert_eq!(checkpoints(out.path()), [STEPS]);
}

#[test]
fn a_resume_from_an_earlier_checkpoint_gives_up_the_later_ones() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 3)).unwrap();
    let from = checkpoint(out.path(), 9);
    let mut plan = planned(&losia, out.path(), Some(&from));
    plan.config.save_steps = NonZeroUsize::new(5);
    plan.valid_samples.clear();
    launch(plan).unwrap();
    assert_eq!(checkpoints(out.path()), [3, 6, 9, 10, 15, STEPS]);
}

#[test]
fn one_run_at_a_time_works_in_a_folder() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let first = Run::new(model(), planned(&losia, out.path(), None)).unwrap();
    let error = Run::new(model(), planned(&losia, out.path(), None)).err().unwrap();
    assert!(error.to_string().contains("another run is at work"), "{error}");
    drop(first);
    launch(planned(&losia, out.path(), None)).unwrap();
}

/// `(step, loss, tokens, target tokens)` of every line.
fn losses(every: usize) -> Vec<(usize, f64, u64, u64)> {
    let out = tempfile::tempdir().unwrap();
    let config = |config: &mut TrainConfig| {
        config.logging_steps = NonZeroUsize::new(every).unwrap();
    };
    launch(configured(&dora_with_dropout, out.path(), &config)).unwrap();
    let lines = metrics(out.path()).into_iter().filter(|line| line["loss"].is_number());
    let number = |line: &Value, key: &str| line[key].as_u64().unwrap();
    lines
        .map(|line| {
            let [step, tokens, targets] =
                ["step", "tokens", "target_tokens"].map(|key| number(&line, key));
            (step as usize, line["loss"].as_f64().unwrap(), tokens, targets)
        })
        .collect()
}

#[test]
fn a_line_tells_of_all_steps_since_the_one_before() {
    let _turn = turn();
    let (every_step, lines) = (losses(1), losses(5));
    assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), [5, 10, 15, STEPS]);
    let mut begin = 0;
    for (end, loss, tokens, targets) in lines {
        let steps = &every_step[begin..end];
        assert_eq!(tokens, steps.iter().map(|step| step.2).sum::<u64>());
        assert_eq!(targets, steps.iter().map(|step| step.3).sum::<u64>());
        let sum: f64 = steps.iter().map(|step| step.1 * step.3 as f64).sum();
        assert!((loss - sum / targets as f64).abs() < 1e-6, "{loss}");
        begin = end;
    }
}

#[test]
fn metrics_account_for_time_and_tokens_and_the_report_shows_them() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    launch(saving(&losia, out.path(), 6)).unwrap();
    let lines = metrics(out.path());
    let steps: Vec<_> = lines.iter().filter(|line| line["loss"].is_number()).collect();
    assert_eq!(steps.len(), STEPS);
    for line in &steps {
        let part = |name: &str| line["time"][name].as_f64().unwrap();
        let parts =
            ["data", "forward", "backward", "method", "optimizer", "evaluation", "checkpoint"]
                .map(part);
        let seconds = line["seconds"].as_f64().unwrap();
        assert!((parts.iter().sum::<f64>() - seconds).abs() < 1e-9, "{line}");
        assert!(
            part("forward") > 0.0 && part("backward") > 0.0 && part("optimizer") > 0.0,
            "{line}"
        );
        let speed = line["tokens"].as_f64().unwrap() / seconds;
        assert!((line["tokens_per_second"].as_f64().unwrap() / speed - 1.0).abs() < 1e-9, "{line}");
        assert!(line["grad_norm"].as_f64().unwrap() > 0.0);
    }
    let checkpointing: f64 = steps.iter().filter_map(|l| l["time"]["checkpoint"].as_f64()).sum();
    assert!(checkpointing > 0.0);

    let report = RunReport::read(out.path()).unwrap();
    assert_eq!((report.status, report.steps), (RunStatus::Completed, STEPS));
    assert_eq!(report.checkpoint, Some(checkpoint(out.path(), STEPS)));
    let text = std::fs::read_to_string(write_report(out.path()).unwrap()).unwrap();
    for expected in ["losia", "| steps | 18 |", "loss.svg", "learning_rate.svg", "validation loss"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(out.path().join("loss.svg").exists());
}
