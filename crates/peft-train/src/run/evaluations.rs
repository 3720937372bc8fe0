//! What the validations of a run came to.

use crate::report::LoggedEvaluation;

/// The validations so far, on one set of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Evaluations {
    pub best: Option<Best>,
    /// Validations since the best one.
    pub since_best: usize,
    /// Steps, taken or skipped, when the last one was, or the run began.
    pub windows: usize,
}

/// The state with the lowest validation loss so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    /// Mean loss per target token, in nats.
    pub eval_loss: f64,
    /// Steps taken then.
    pub steps: usize,
}

impl Evaluations {
    /// None yet, and none missing, of a run that begins after so many steps.
    pub fn after(windows: usize) -> Self {
        Self { windows, ..Self::default() }
    }

    /// Those in a log that were on the samples with that hash: losses on others do not compare.
    pub fn logged(lines: &[LoggedEvaluation], valid_sha256: &str) -> Self {
        let mut evaluations = Self::default();
        for line in lines.iter().filter(|line| line.valid_sha256 == valid_sha256) {
            evaluations.push(line.step, line.windows, line.eval_loss.unwrap_or(f64::NAN));
        }
        evaluations
    }

    /// Counts in the loss after `steps` steps, `windows` with skipped ones. Returns whether it is the
    /// lowest so far.
    pub fn push(&mut self, steps: usize, windows: usize, eval_loss: f64) -> bool {
        self.windows = windows;
        let is_best =
            eval_loss.is_finite() && self.best.is_none_or(|best| eval_loss < best.eval_loss);
        if is_best {
            self.best = Some(Best { eval_loss, steps });
        }
        self.since_best = if is_best { 0 } else { self.since_best + 1 };
        is_best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize, eval_loss: Option<f64>, set: &str) -> LoggedEvaluation {
        LoggedEvaluation { step, windows: step + 1, eval_loss, valid_sha256: set.into() }
    }

    #[test]
    fn the_lowest_loss_is_the_best_and_the_first_of_equal_ones() {
        let losses = [Some(3.0), None, Some(2.0), Some(2.0), Some(2.5)];
        let since = [0, 1, 0, 1, 2];
        for (count, since_best) in (1..=losses.len()).zip(since) {
            let lines: Vec<_> =
                losses[..count].iter().zip(1..).map(|(loss, at)| line(at, *loss, "a")).collect();
            let evaluations = Evaluations::logged(&lines, "a");
            let (eval_loss, steps) = if count < 3 { (3.0, 1) } else { (2.0, 3) };
            let best = Some(Best { eval_loss, steps });
            assert_eq!(evaluations, Evaluations { best, since_best, windows: count + 1 });
        }
    }

    #[test]
    fn losses_on_other_samples_do_not_count() {
        let lines = [line(4, Some(1.0), "a"), line(8, Some(2.0), "b"), line(12, Some(1.5), "a")];
        let best = Some(Best { eval_loss: 2.0, steps: 8 });
        assert_eq!(
            Evaluations::logged(&lines, "b"),
            Evaluations { best, since_best: 0, windows: 9 }
        );
        assert_eq!(Evaluations::logged(&lines, "c"), Evaluations::default());
    }
}
