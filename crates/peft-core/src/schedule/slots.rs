//! Time slots: which layer's importance is being measured at a step.

use serde::{Deserialize, Serialize};

/// Which layers share a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateType {
    /// One layer after another, `period` steps each (the reference's `asy_period`).
    Asynchronous,
    /// All layers in the first slot of every cycle (`syn_period`, an ablation of the paper).
    Synchronous,
    /// Never: the first, random subnets are kept (a baseline).
    Fixed,
}

/// The slot plan of a run. Step `s` lies in slot `(s / period) mod count`. What would end beyond the
/// largest number of steps never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Steps in a slot, `T`, at least 1.
    pub period: usize,
    /// Slots in a cycle, `N`: the number of layers, plus one for a localised output head; at
    /// least 1.
    pub count: usize,
    /// Which layers share a slot.
    pub update_type: UpdateType,
}

impl Slots {
    /// Whether the layer with slot number `id` gathers importance at `step`.
    pub fn localizes(&self, step: usize, id: usize) -> bool {
        let slot = (step / self.period.max(1)) % self.count.max(1);
        match self.update_type {
            UpdateType::Asynchronous => slot == id,
            UpdateType::Synchronous => slot == 0,
            UpdateType::Fixed => false,
        }
    }

    /// Whether the layer moves its subnet at the end of `step`.
    pub fn relocalizes(&self, step: usize, id: usize) -> bool {
        self.localizes(step, id) && (step + 1).is_multiple_of(self.period)
    }

    /// First step trained with the layer's current subnet, 0 if it never moved.
    pub fn latest_restart(&self, step: usize, id: usize) -> usize {
        let first = match self.update_type {
            UpdateType::Asynchronous => id.saturating_add(1).saturating_mul(self.period),
            UpdateType::Synchronous => self.period,
            UpdateType::Fixed => return 0,
        };
        match step.checked_sub(first) {
            Some(since) => first + since / self.cycle().max(1) * self.cycle(),
            None => 0,
        }
    }

    /// Steps in a cycle, `N·T`.
    pub fn cycle(&self) -> usize {
        self.period.saturating_mul(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_restart_follows_the_last_relocalisation() {
        for update_type in [UpdateType::Asynchronous, UpdateType::Synchronous, UpdateType::Fixed] {
            let slots = Slots { period: 3, count: 4, update_type };
            for id in 0..4 {
                let mut latest = 0;
                for step in 0..60 {
                    assert_eq!(slots.latest_restart(step, id), latest, "{update_type:?} {step}");
                    if slots.relocalizes(step, id) {
                        latest = step + 1;
                    }
                }
            }
        }
    }

    #[test]
    fn a_period_beyond_all_steps_never_ends() {
        for update_type in [UpdateType::Asynchronous, UpdateType::Synchronous] {
            let slots = Slots { period: usize::MAX, count: 4, update_type };
            assert_eq!((slots.cycle(), slots.latest_restart(60, 3)), (usize::MAX, 0));
            assert!((0..60).all(|step| !slots.relocalizes(step, 0)));
        }
    }
}
