//! Shapes of the learning rate, of all methods.

use peft_core::schedule::{Decay, LrScheduler};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MethodName;

/// Shape of the learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LrShape {
    /// Warm-up, then half a cosine down to `min_lr_ratio`. LoSiA: a warm-up of one period after
    /// every move of a subnet, then a cosine to the end of its cycle, again and again.
    Cosine,
    /// LoSiA: warm-up and one cosine over the run, to which a moved subnet climbs back within one
    /// period.
    CosineRestarts,
    /// LoSiA: warm-up and one cosine over the run, for moved subnets too.
    NoRewarming,
    /// Warm-up, then a line down to `min_lr_ratio`. Not for LoSiA.
    Linear,
    /// Warm-up, then the same rate to the end. Not for LoSiA.
    Constant,
}

impl LrShape {
    /// Whether `method` has it.
    pub(super) fn suits(self, method: MethodName) -> bool {
        match method {
            MethodName::LosiaPro | MethodName::Losia => self.of_subnets().is_some(),
            _ => self.decay().is_some(),
        }
    }

    /// The shape as LoSiA has it.
    pub(crate) fn of_subnets(self) -> Option<LrScheduler> {
        match self {
            Self::Cosine => Some(LrScheduler::Cosine),
            Self::CosineRestarts => Some(LrScheduler::CosineRestarts),
            Self::NoRewarming => Some(LrScheduler::NoRewarming),
            Self::Linear | Self::Constant => None,
        }
    }

    /// The shape as the other methods have it.
    pub(crate) fn decay(self) -> Option<Decay> {
        match self {
            Self::Cosine => Some(Decay::Cosine),
            Self::Linear => Some(Decay::Linear),
            Self::Constant => Some(Decay::Constant),
            Self::CosineRestarts | Self::NoRewarming => None,
        }
    }
}
