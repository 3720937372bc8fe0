//! How a run ended, for `run.json`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::store::SafetensorsStore;
use burn::tensor::Device;
use serde_json::{Value, json};

use super::launch::Run;
use super::state::State;
use crate::Error;
use crate::report::{
    DataReport, RunReport, RunStatus, Scores, device_memory_bytes, peak_memory_bytes,
};

/// What a run itself does not know, for its report.
pub(crate) struct About {
    /// The resolved configuration.
    pub config: Value,
    /// What was trained and measured on.
    pub data: DataReport,
    /// Scores before training.
    pub before: Option<Scores>,
    /// What was noted before.
    pub notes: Vec<String>,
}

/// What is known of a run before it begins, and its clock.
pub(super) struct Outcome {
    output_dir: PathBuf,
    known: RunReport,
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
            known: known(run, &state),
            start,
        }
    }

    /// Says how the run stands. One that is `Running` stays so in the report if its process is killed.
    pub fn report(&self, status: RunStatus, state: &State) -> Result<(), Error> {
        self.now(status, state).write(&self.output_dir)
    }

    pub fn failed(&self, error: &Error, state: &State) -> Result<(), Error> {
        let error = Some(error.to_string());
        RunReport { error, ..self.now(RunStatus::Failed, state) }.write(&self.output_dir)
    }

    fn now(&self, status: RunStatus, state: &State) -> RunReport {
        let (seconds, tokens_per_second) = self.pace(state.tokens);
        RunReport {
            status,
            steps: state.tuner.steps(),
            skipped_steps: state.skips.total,
            seconds,
            tokens_per_second,
            peak_memory_bytes: peak_memory_bytes(),
            device_memory_bytes: device_memory_bytes(&state.device),
            checkpoint: state.saver.last_path().map(Path::to_owned),
            best_eval_loss: state.evaluations.best.map(|best| best.eval_loss),
            best_checkpoint: state.saver.best_path(),
            notes: [&*self.known.notes, &state.notes].concat(),
            ..self.known.clone()
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
}

/// What is known of a run before it begins.
fn known(run: &Run, state: &State) -> RunReport {
    let (identity, counts, about) = (&state.saver.run, state.tuner.counts(), run.about.as_ref());
    let settings = || json!({ "method": identity.method, "settings": identity.config });
    RunReport {
        version: env!("CARGO_PKG_VERSION").into(),
        burn_version: SafetensorsStore::default_metadata().remove("version"),
        config: about.map_or_else(settings, |about| about.config.clone()),
        device: names(&run.training.devices),
        dtype: identity.dtype.clone(),
        status: RunStatus::Running,
        error: None,
        notes: about.map(|about| about.notes.clone()).unwrap_or_default(),
        steps: 0,
        skipped_steps: 0,
        seconds: 0.0,
        tokens_per_second: 0.0,
        peak_memory_bytes: None,
        device_memory_bytes: None,
        trainable_parameters: counts.trainable,
        total_parameters: counts.total,
        checkpoint: None,
        best_eval_loss: None,
        best_checkpoint: None,
        data: about.map(|about| about.data.clone()),
        before: about.and_then(|about| about.before),
        after: None,
        known: None,
    }
}

fn names(devices: &[Device]) -> String {
    let names = devices.iter().map(|device| format!("{:?}", device.clone().inner()));
    names.collect::<Vec<_>>().join(", ")
}
