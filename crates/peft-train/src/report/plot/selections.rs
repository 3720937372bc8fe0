//! How good LoSiA's subnets were when they were chosen.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use plotters::prelude::*;

use super::cells::Cells;
use super::chart::Series;
use crate::Error;
use crate::report::History;

/// The moves of subnets in a run, read back from its `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectionHistory {
    /// Mean share of the squared gradient inside the subnets that moved at a step, by step.
    pub means: Vec<(usize, f64)>,
    /// That share at the last move of each weight's subnet, by path of the weight.
    pub last: Vec<(String, f64)>,
}

impl SelectionHistory {
    /// The picture's name in the output folder.
    pub const FILE_NAME: &str = "selections.svg";

    /// The moves of a run; `None` if there were none.
    pub fn of(history: &History) -> Option<Self> {
        let moves = &history.relocalizations;
        let at_a_step = moves.chunk_by(|(a, ..), (b, ..)| a == b);
        let mean = |moves: &[(usize, String, f64)]| {
            let sum: f64 = moves.iter().map(|(.., share)| share).sum();
            (moves[0].0, sum / moves.len() as f64)
        };
        let last = moves.iter().map(|(_, path, share)| (path.clone(), *share));
        let last: IndexMap<_, _> = last.collect();
        let history =
            Self { means: at_a_step.map(mean).collect(), last: last.into_iter().collect() };
        (!moves.is_empty()).then_some(history)
    }

    /// Draws the shares at the last moves by layer and module, and their mean over time, into
    /// `selections.svg` in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Plot`], [`Error::Io`].
    pub fn draw(&self, dir: &Path) -> Result<PathBuf, Error> {
        let percent = |share: f64| 100.0 * share;
        let points = self.means.iter().map(|(step, share)| (*step as f64, percent(*share)));
        let series = Series { name: "share", color: BLUE, points: points.collect() };
        let titles = [
            "squared gradient inside the subnet at its last move, %",
            "squared gradient inside the subnets that moved, %",
        ];
        let last = self.last.iter().map(|(path, share)| (&**path, percent(*share)));
        let path = dir.join(Self::FILE_NAME);
        Cells::of(last).draw_above(series, path, titles, &|share| format!("{share:.1}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_averaged_by_step_and_the_last_ones_drawn() {
        let path = |layer: usize, name: &str| format!("model.layers.{layer}.mlp.{name}.weight");
        let relocalizations = vec![
            (5, path(0, "up_proj"), 0.25),
            (5, path(0, "down_proj"), 0.75),
            (10, path(1, "up_proj"), 0.125),
            (15, path(0, "up_proj"), 0.5),
        ];
        let history = History { relocalizations, ..History::default() };
        let selections = SelectionHistory::of(&history).unwrap();
        assert_eq!(selections.means, [(5, 0.5), (10, 0.125), (15, 0.5)]);
        let last = [(path(0, "up_proj"), 0.5), (path(0, "down_proj"), 0.75)];
        assert_eq!(selections.last, [&last[..], &[(path(1, "up_proj"), 0.125)]].concat());

        let dir = tempfile::tempdir().unwrap();
        let svg = std::fs::read_to_string(selections.draw(dir.path()).unwrap()).unwrap();
        for text in ["up_proj", "down_proj", "75.0", "12.5", "subnets that moved", "step"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_run_without_moves_has_no_picture() {
        assert_eq!(SelectionHistory::of(&History::default()), None);
    }
}
