//! What the Learner takes for its epochs.

use std::iter::successors;
use std::num::NonZeroUsize;

/// The steps of a run in segments. The Learner validates after each of its epochs, and it is given
/// one segment after the other for these: a segment ends where a validation is due, and where an
/// epoch of the data ends.
///
/// Steps are counted with skipped ones, from the beginning of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segments {
    pub steps_per_epoch: NonZeroUsize,
    /// Steps between validations; `None` for one at the end of every epoch.
    pub eval_steps: Option<NonZeroUsize>,
}

impl Segments {
    /// Whether a validation is due after `steps` steps, wherever the run ends.
    pub fn validates_after(self, steps: usize) -> bool {
        steps.is_multiple_of(self.eval_steps.unwrap_or(self.steps_per_epoch).get())
    }

    /// The end of the segment in which the run goes on after `steps` steps.
    pub fn end(self, steps: usize) -> usize {
        let next = |every: NonZeroUsize| (steps / every + 1).saturating_mul(every.get());
        let epoch = next(self.steps_per_epoch);
        self.eval_steps.map_or(epoch, |every| next(every).min(epoch))
    }

    /// How many segments have ended after `steps` steps.
    pub fn ended(self, steps: usize) -> usize {
        self.begins().skip(1).take_while(|end| *end <= steps).count()
    }

    /// Where segment `number` begins, counted from 0.
    pub fn begin(self, number: usize) -> usize {
        self.begins().nth(number).unwrap_or(usize::MAX)
    }

    fn begins(self) -> impl Iterator<Item = usize> {
        successors(Some(0), move |steps| Some(self.end(*steps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(steps_per_epoch: usize, eval_steps: usize) -> Segments {
        let steps_per_epoch = NonZeroUsize::new(steps_per_epoch).unwrap();
        Segments { steps_per_epoch, eval_steps: NonZeroUsize::new(eval_steps) }
    }

    #[test]
    fn segments_end_with_epochs_and_at_validations() {
        for (per_epoch, every, ends, validations) in [
            (6, 0, &[6, 12, 18, 24][..], &[6, 12, 18, 24][..]),
            (6, 4, &[4, 6, 8, 12, 16, 18, 20, 24], &[4, 8, 12, 16, 20, 24]),
            (6, 3, &[3, 6, 9, 12, 15, 18, 21, 24], &[3, 6, 9, 12, 15, 18, 21, 24]),
            (6, 6, &[6, 12, 18, 24], &[6, 12, 18, 24]),
            (6, 10, &[6, 10, 12, 18, 20, 24], &[10, 20]),
            (6, 100, &[6, 12, 18, 24], &[]),
            (1, 2, &[1, 2, 3, 4], &[2, 4]),
        ] {
            let segments = segments(per_epoch, every);
            let found: Vec<_> = segments.begins().skip(1).take(ends.len()).collect();
            assert_eq!(found, ends, "{segments:?}");
            let due = |steps: &usize| segments.validates_after(*steps);
            let found: Vec<_> = found.into_iter().filter(due).collect();
            assert_eq!(found, validations, "{segments:?}");
        }
    }

    #[test]
    fn a_run_goes_on_in_the_segment_it_left() {
        let segments = segments(6, 4); // up to 4, 6, 8, 12
        for (steps, ended, end) in
            [(0, 0, 4), (3, 0, 4), (4, 1, 6), (5, 1, 6), (6, 2, 8), (7, 2, 8), (8, 3, 12)]
        {
            assert_eq!((segments.ended(steps), segments.end(steps)), (ended, end), "{steps}");
            assert_eq!(segments.end(segments.begin(ended)), end, "{steps}");
        }
    }

    #[test]
    fn a_validation_that_is_never_due_is_none() {
        assert_eq!(segments(6, usize::MAX).end(13), 18);
    }
}
