//! `metrics.jsonl`, read back.

use std::path::Path;

use serde::Deserialize;

use super::MetricsLog;
use crate::Error;

/// What a run's `metrics.jsonl` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The logged steps, in order.
    pub steps: Vec<LoggedStep>,
    /// Steps taken before each validation, and its mean loss per target token.
    pub evaluations: Vec<(usize, f64)>,
    /// Steps taken before each skipped one; one that was tried again in vain is there several times.
    pub skipped: Vec<usize>,
    /// Steps taken at each cut of AdaLoRA's ranks, and the ranks of each weight after it.
    pub allocations: Vec<(usize, Vec<(String, usize)>)>,
    /// Steps taken at each move of a LoSiA subnet, the path of its weight, and the share of the squared
    /// gradient inside it, where it is a number.
    pub relocalizations: Vec<(usize, String, f64)>,
}

/// A step as it was logged.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedStep {
    /// Its number, from 1.
    pub step: usize,
    /// Mean loss per target token since the line before, in nats.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping.
    pub grad_norm: Option<f64>,
    /// Real training tokens per second since the line before.
    pub tokens_per_second: Option<f64>,
}

#[derive(Deserialize)]
struct Line {
    step: usize,
    loss: Option<f64>,
    learning_rate: Option<f64>,
    grad_norm: Option<f64>,
    tokens_per_second: Option<f64>,
    eval_loss: Option<f64>,
    #[serde(default)]
    skipped: bool,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Allocation {
        ranks: Vec<(String, usize)>,
    },
    Relocalization {
        path: String,
        gradient_share: Option<f64>,
    },
    #[serde(other)]
    Other,
}

impl History {
    /// Reads the log in the folder `dir`. A last line that a crash left unfinished is passed over.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::BadMetricsLine`].
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(MetricsLog::FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(Error::read(&path))?;
        let mut history = Self::default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for (index, line) in lines.enumerate() {
            let line = serde_json::from_str(line).map_err(|source| Error::BadMetricsLine {
                path: path.clone(),
                line: index + 1,
                source,
            })?;
            history.push(line);
        }
        Ok(history)
    }

    fn push(&mut self, line: Line) {
        let step = line.step;
        if line.skipped {
            self.skipped.push(step);
        } else if let (Some(loss), Some(learning_rate)) = (line.loss, line.learning_rate) {
            let Line { grad_norm, tokens_per_second, .. } = line;
            self.steps.push(LoggedStep { step, loss, learning_rate, grad_norm, tokens_per_second });
        }
        self.evaluations.extend(line.eval_loss.map(|loss| (step, loss)));
        for event in line.events {
            match event {
                Event::Allocation { ranks } => self.allocations.push((step, ranks)),
                Event::Relocalization { path, gradient_share } => {
                    self.relocalizations.extend(gradient_share.map(|share| (step, path, share)));
                }
                Event::Other => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<History, Error> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), text).unwrap();
        History::read(dir.path())
    }

    #[test]
    fn lines_are_told_apart() {
        let history = read(concat!(
            r#"{"step":0,"loss":2.5,"learning_rate":1e-3,"grad_norm":0.5,"tokens_per_second":9}"#,
            "\n",
            r#"{"step":1,"skipped":true,"loss":null,"grad_norm":null,"skipped_steps":1}"#,
            "\n",
            r#"{"step":1,"loss":2,"learning_rate":1e-4,"events":[{"event":"another"},"#,
            r#"{"event":"relocalization","path":"a","gradient_share":0.5},"#,
            r#"{"event":"relocalization","path":"b","gradient_share":null},"#,
            r#"{"event":"allocation","budget":3,"ranks":[["a",1],["b",2]]}]}"#,
            "\n",
            r#"{"step":1,"eval_loss":2.25}"#,
            "\n",
            r#"{"step":2,"loss":1.0,"learning_rate":1"#, // cut off by a crash
        ))
        .unwrap();
        assert_eq!(history.steps.iter().map(|s| s.loss).collect::<Vec<_>>(), [2.5, 2.0]);
        assert_eq!(history.steps[0].tokens_per_second, Some(9.0));
        assert_eq!((history.steps[1].step, history.steps[1].grad_norm), (1, None));
        assert_eq!(history.skipped, [1]);
        assert_eq!(history.evaluations, [(1, 2.25)]);
        assert_eq!(history.relocalizations, [(1, "a".into(), 0.5)]);
        assert_eq!(history.allocations, [(1, vec![("a".into(), 1), ("b".into(), 2)])]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read("{\"step\":0}\n{\"loss\":1}\n").unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl:2: ") && error.contains("`step`"), "{error}");
    }
}
