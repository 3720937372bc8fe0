//! The picture people look for in AdaLoRA's paper: which weights kept how many ranks.

use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::cells::Cells;
use super::chart::Series;
use crate::Error;
use crate::report::History;

/// Ranks over a run, read back from its `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct RankHistory {
    /// Ranks of all weights together, by step.
    pub totals: Vec<(usize, usize)>,
    /// Ranks after the last cut, by path of the weight.
    pub last: Vec<(String, usize)>,
}

impl RankHistory {
    /// The picture's name in the output folder.
    pub const FILE_NAME: &str = "ranks.svg";

    /// Reads the cuts of the run in the folder `dir`; `None` if there were none.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::BadMetricsLine`].
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        Ok(Self::of(&History::read(dir)?))
    }

    /// The cuts of a run; `None` if there were none.
    pub fn of(history: &History) -> Option<Self> {
        let sum = |ranks: &[(String, usize)]| ranks.iter().map(|(_, rank)| rank).sum();
        let (_, last) = history.allocations.last()?;
        let totals = history.allocations.iter().map(|(step, ranks)| (*step, sum(ranks)));
        Some(Self { totals: totals.collect(), last: last.clone() })
    }

    /// Draws the final ranks by layer and module, and their sum over time, into `ranks.svg` in the
    /// folder `dir`.
    ///
    /// # Errors
    /// [`Error::Plot`], [`Error::Io`].
    pub fn draw(&self, dir: &Path) -> Result<PathBuf, Error> {
        let points = self.totals.iter().map(|(step, sum)| (*step as f64, *sum as f64));
        let series = Series { name: "ranks", color: BLUE, points: points.collect() };
        let titles = ["final ranks by layer and module", "ranks kept, all weights"];
        let last = self.last.iter().map(|(path, rank)| (&**path, *rank as f64));
        let path = dir.join(Self::FILE_NAME);
        Cells::of(last).draw_above(series, path, titles, &|ranks| format!("{ranks:.0}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MetricsLog;

    #[test]
    fn cuts_are_read_back_and_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let path = |layer: usize, name: &str| format!("model.layers.{layer}.mlp.{name}.weight");
        let line = |step: usize, ranks: [usize; 3]| {
            let ranks = [(path(0, "up_proj"), ranks[0]), (path(0, "down_proj"), ranks[1])]
                .into_iter()
                .chain([(path(1, "up_proj"), ranks[2])]);
            let event = serde_json::json!({
                "event": "allocation", "budget": 9, "threshold": 0.5,
                "ranks": ranks.collect::<Vec<_>>(),
            });
            serde_json::json!({ "step": step, "loss": 1.0, "events": [event] }).to_string()
        };
        let other =
            r#"{"step":7,"events":[{"event":"relocalization","path":"x","gradient_share":null}]}"#;
        let text = format!("{}\n{other}\n{}\n", line(3, [4, 4, 4]), line(9, [1, 0, 4]));
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), text).unwrap();
        let history = RankHistory::read(dir.path()).unwrap().unwrap();
        assert_eq!(history.totals, [(3, 12), (9, 5)]);
        assert_eq!(history.last[2], (path(1, "up_proj"), 4));

        let svg = std::fs::read_to_string(history.draw(dir.path()).unwrap()).unwrap();
        for text in ["up_proj", "down_proj", "final ranks by layer and module", "step"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_run_without_cuts_has_no_picture() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MetricsLog::FILE_NAME), "{\"step\":1}\n").unwrap();
        assert_eq!(RankHistory::read(dir.path()).unwrap(), None);
    }
}
