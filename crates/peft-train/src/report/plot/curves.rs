//! How loss and learning rate went.

use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::chart::{Series, line_chart};
use super::draw;
use crate::Error;
use crate::report::History;

/// Pixels.
const SIZE: (u32, u32) = (760, 360);

impl History {
    /// The name of the picture of the losses.
    pub const LOSS_FILE_NAME: &str = "loss.svg";
    /// The name of the picture of the learning rate.
    pub const LEARNING_RATE_FILE_NAME: &str = "learning_rate.svg";

    /// Draws training and validation loss into `loss.svg` in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Plot`], [`Error::Io`].
    pub fn draw_loss(&self, dir: &Path) -> Result<PathBuf, Error> {
        let steps = self.steps.iter().map(|logged| (logged.step as f64, logged.loss));
        let evaluations = self.evaluations.iter().map(|(step, loss)| (*step as f64, *loss));
        let train = Series { name: "training", color: BLUE, points: steps.collect() };
        let valid = Series { name: "validation", color: RED, points: evaluations.collect() };
        let series = match valid.points.is_empty() {
            true => vec![train],
            false => vec![train, valid],
        };
        draw(dir.join(Self::LOSS_FILE_NAME), SIZE, |area| {
            line_chart(area, "loss per target token", &series, &|loss| format!("{loss:.3}"))
        })
    }

    /// Draws the learning rate into `learning_rate.svg` in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Plot`], [`Error::Io`].
    pub fn draw_learning_rate(&self, dir: &Path) -> Result<PathBuf, Error> {
        let points = self.steps.iter().map(|logged| (logged.step as f64, logged.learning_rate));
        let rate = Series { name: "learning rate", color: BLUE, points: points.collect() };
        draw(dir.join(Self::LEARNING_RATE_FILE_NAME), SIZE, |area| {
            line_chart(area, "learning rate", &[rate], &|rate| format!("{rate:.1e}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::LoggedStep;

    #[test]
    fn losses_and_rates_are_drawn() {
        let step = |step, loss| LoggedStep {
            step,
            loss,
            learning_rate: 1e-3 / (step + 1) as f64,
            grad_norm: None,
            tokens_per_second: None,
        };
        let history = History {
            steps: vec![step(0, 4.0), step(10, 2.0)],
            evaluations: vec![(5, 3.0), (10, 2.5)],
            ..History::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let loss = std::fs::read_to_string(history.draw_loss(dir.path()).unwrap()).unwrap();
        for text in ["loss per target token", "training", "validation", "polyline"] {
            assert!(loss.contains(text), "{text}");
        }
        let rate = history.draw_learning_rate(dir.path()).unwrap();
        let rate = std::fs::read_to_string(rate).unwrap();
        assert!(rate.contains("e-3") && rate.contains("polyline"));

        let nowhere = history.draw_loss(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(nowhere.starts_with("cannot write `/nowhere/loss.svg`"), "{nowhere}");
    }
}
