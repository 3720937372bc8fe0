//! What happens to a run, and what it may cost.

use super::task::SAVE_STEPS;

/// What is done to a process or its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is killed.
    Killed,
    /// It is killed, and then its newest checkpoint is damaged.
    Damaged,
    /// The disk becomes full, and it ends with an error.
    Full,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Killed, Self::Damaged, Self::Full];

    /// Name of the kind in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Damaged => "damaged",
            Self::Full => "disk full",
        }
    }

    /// Steps that it may cost.
    pub fn allowed(self) -> usize {
        match self {
            Self::Killed | Self::Full => SAVE_STEPS,
            Self::Damaged => 2 * SAVE_STEPS,
        }
    }
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    /// More about it, such as the file that was damaged.
    pub detail: String,
    /// Steps the process had taken, as far as it had said.
    pub reached: usize,
    /// Steps of the newest checkpoint that is whole afterwards; 0 if there is none.
    pub kept: usize,
}

impl Event {
    /// Steps that must be taken again.
    pub fn lost(&self) -> usize {
        self.reached.saturating_sub(self.kept)
    }

    /// Whether it cost more than it may.
    pub fn is_loss(&self) -> bool {
        self.lost() > self.kind.allowed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_checkpoint_costs_its_own_interval_too() {
        let event = |kind, reached| Event { kind, detail: String::new(), reached, kept: 20 };
        for (kind, reached, is_loss) in [
            (Kind::Killed, 19, false), // a checkpoint whose step was not yet announced
            (Kind::Killed, 20 + SAVE_STEPS, false),
            (Kind::Killed, 21 + SAVE_STEPS, true),
            (Kind::Full, 21 + SAVE_STEPS, true),
            (Kind::Damaged, 20 + 2 * SAVE_STEPS, false),
            (Kind::Damaged, 21 + 2 * SAVE_STEPS, true),
        ] {
            assert_eq!(event(kind, reached).is_loss(), is_loss, "{kind:?} at {reached}");
        }
    }
}
