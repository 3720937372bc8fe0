//! AdaLoRA's rank budget: how many singular triplets a model may keep at a step.

use crate::Error;
use crate::error::check;

/// The cubic budget schedule (Zhang et al., 2023, equation 12), as PEFT computes it. One that
/// [`validate`](Self::validate) refuses has no phase of budgeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSchedule {
    /// Triplets at the start, over all weights.
    pub initial: usize,
    /// Triplets at the end.
    pub target: usize,
    /// Steps before the first cut.
    pub tinit: usize,
    /// Steps after the last.
    pub tfinal: usize,
    /// Steps between cuts.
    pub delta_t: usize,
    /// Steps of the whole run.
    pub total_step: usize,
}

/// Part of an AdaLoRA run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All triplets train; none is cut.
    WarmUp,
    /// The budget shrinks.
    Budgeting,
    /// The last cut stands.
    Final,
}

impl BudgetSchedule {
    /// Checks that there is time to cut anything.
    ///
    /// # Errors
    /// [`Error::Setting`] with the arithmetic of what does not fit.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { tinit, tfinal, delta_t, total_step, .. } = *self;
        check(delta_t > 0, "delta_t", delta_t, "at least 1")?;
        let left = self.final_from();
        check(
            tinit < left,
            "tinit",
            format!("{tinit}, total_step {total_step} − tfinal {tfinal} is {left}"),
            "tinit < total_step − tfinal, so that there are steps to cut in",
        )?;
        let (initial, target) = (self.initial, self.target);
        check(target <= initial, "target_r", target, "a budget of at most the initial one")
    }

    /// The phase of `step`, counted from 0.
    pub fn phase(&self, step: usize) -> Phase {
        match step {
            step if step <= self.tinit => Phase::WarmUp,
            step if step > self.final_from() => Phase::Final,
            _ => Phase::Budgeting,
        }
    }

    /// Triplets to keep at `step`.
    pub fn budget(&self, step: usize) -> usize {
        match self.phase(step) {
            Phase::WarmUp => self.initial,
            Phase::Final => self.target,
            Phase::Budgeting => {
                let span = (self.final_from() - self.tinit) as f64;
                let left = 1.0 - (step - self.tinit) as f64 / span;
                let (initial, target) = (self.initial as f64, self.target as f64);
                // `powf`, as the reference: a product of three could round differently.
                ((initial - target) * left.powf(3.0) + target) as usize
            }
        }
    }

    /// Whether the schedule cuts at the end of `step`.
    pub fn mask_due(&self, step: usize) -> bool {
        match self.phase(step) {
            Phase::WarmUp => false,
            Phase::Budgeting => step.is_multiple_of(self.delta_t),
            Phase::Final => true,
        }
    }

    /// The step of the last cut, which is made whether or not one is due. With no final phase it is
    /// the last step of the run, so that every run ends within its budget; the references' last cut
    /// would come one step later, and is never made.
    pub fn last_cut(&self) -> usize {
        self.final_from().min(self.total_step.saturating_sub(1))
    }

    /// Steps before those that train the final ranks.
    pub(crate) fn final_from(&self) -> usize {
        self.total_step.saturating_sub(self.tfinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> BudgetSchedule {
        BudgetSchedule { initial: 12, target: 4, tinit: 2, tfinal: 3, delta_t: 2, total_step: 9 }
    }

    #[test]
    fn the_budget_falls_with_the_cube_between_the_phases() {
        let budgets: Vec<_> = (0..9).map(|step| schedule().budget(step)).collect();
        // steps 3–6: trunc(8·c³ + 4) with c = 3/4, 1/2, 1/4, 0
        assert_eq!(budgets, [12, 12, 12, 7, 5, 4, 4, 4, 4]);
        let due: Vec<_> = (0..9).filter(|&step| schedule().mask_due(step)).collect();
        assert_eq!(due, [4, 6, 7, 8]);
        assert_eq!(schedule().last_cut(), 6);
        assert_eq!(BudgetSchedule { tfinal: 0, ..schedule() }.last_cut(), 8);
    }

    #[test]
    fn an_impossible_schedule_is_refused_with_its_arithmetic() {
        let error = BudgetSchedule { tinit: 6, ..schedule() }.validate().unwrap_err().to_string();
        assert!(error.contains("6, total_step 9 − tfinal 3 is 6"), "{error}");
        assert!(BudgetSchedule { tfinal: 20, ..schedule() }.validate().is_err());
        assert!(BudgetSchedule { target: 13, ..schedule() }.validate().is_err());
        assert!(BudgetSchedule { delta_t: 0, ..schedule() }.validate().is_err());
        schedule().validate().unwrap();
    }

    #[test]
    fn a_schedule_without_time_to_cut_never_fails() {
        let empty = BudgetSchedule { total_step: 0, ..schedule() };
        let late = BudgetSchedule { tinit: 8, ..schedule() };
        for schedule in [empty, late, BudgetSchedule { tfinal: 20, ..schedule() }] {
            let phases: Vec<_> = (0..12).map(|step| schedule.phase(step)).collect();
            assert!(!phases.contains(&Phase::Budgeting), "{schedule:?}");
            assert!((0..12).all(|step| [12, 4].contains(&schedule.budget(step))));
            assert!(schedule.last_cut() <= 6, "{schedule:?}");
        }
    }
}
