//! How a run ended, for `run.json`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use peft_core::ParamCounts;

use super::finish::Finished;
use super::identity::RunIdentity;
use super::launch::Run;
use super::state::State;
use crate::Error;
use crate::report::{RunReport, RunStatus, peak_memory_bytes};

/// What is known of a run before it begins, and its clock.
pub(super) struct Outcome {
    output_dir: PathBuf,
    run: RunIdentity,
    devices: Vec<Device>,
    counts: ParamCounts,
    /// What was said when the checkpoint was left that the run goes on from.
    earlier: Option<RunReport>,
    start: Instant,
}

impl Outcome {
    pub fn of(run: &Run, start: Instant) -> Self {
        let state = run.training.session.lock();
        let resumed = state.saver.last_path().and_then(Path::parent);
        Self {
            earlier: resumed.and_then(|dir| RunReport::read(dir).ok()),
            output_dir: state.saver.output_dir.clone(),
            run: state.saver.run.clone(),
            devices: run.training.devices.clone(),
            counts: state.tuner.counts(),
            start,
        }
    }

    /// Says that the run is at work: a process that is killed leaves it so.
    pub fn running(&self) -> Result<(), Error> {
        self.report(RunStatus::Running).write(&self.output_dir)
    }

    pub fn finished(&self, finished: &Finished, state: &State) -> Result<(), Error> {
        self.ended(finished.status, state).write(&self.output_dir)
    }

    pub fn failed(&self, error: &Error, state: &State) -> Result<(), Error> {
        let error = Some(error.to_string());
        RunReport { error, ..self.ended(RunStatus::Failed, state) }.write(&self.output_dir)
    }

    fn ended(&self, status: RunStatus, state: &State) -> RunReport {
        let (seconds, tokens_per_second) = self.pace(state.tokens);
        RunReport {
            steps: state.tuner.steps(),
            skipped_steps: state.skips.total,
            seconds,
            tokens_per_second,
            checkpoint: state.saver.last_path().map(Path::to_owned),
            best_eval_loss: state.saver.best.map(|best| best.eval_loss),
            best_checkpoint: state.saver.best_path(),
            ..self.report(status)
        }
    }

    /// Seconds, and tokens per second: of the run's last training, which is an earlier process's
    /// where this one had nothing left to train on.
    fn pace(&self, tokens: usize) -> (f64, f64) {
        match &self.earlier {
            Some(earlier) if tokens == 0 => (earlier.seconds, earlier.tokens_per_second),
            _ => {
                let seconds = self.start.elapsed().as_secs_f64();
                (seconds, tokens as f64 / seconds)
            }
        }
    }

    fn report(&self, status: RunStatus) -> RunReport {
        RunReport {
            version: env!("CARGO_PKG_VERSION").into(),
            config: serde_json::json!({ "method": self.run.method, "settings": self.run.config }),
            device: names(&self.devices),
            dtype: self.run.dtype.clone(),
            status,
            error: None,
            steps: 0,
            skipped_steps: 0,
            seconds: self.start.elapsed().as_secs_f64(),
            tokens_per_second: 0.0,
            peak_memory_bytes: peak_memory_bytes(),
            trainable_parameters: self.counts.trainable,
            total_parameters: self.counts.total,
            checkpoint: None,
            best_eval_loss: None,
            best_checkpoint: None,
            before: None,
            after: None,
            known: None,
        }
    }
}

fn names(devices: &[Device]) -> String {
    let names = devices.iter().map(|device| format!("{:?}", device.clone().inner()));
    names.collect::<Vec<_>>().join(", ")
}
