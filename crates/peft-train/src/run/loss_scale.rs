//! Dynamic loss scaling for f16.

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

/// What the loss is multiplied by before the backward pass, and its gradients divided by after it, so
/// that those too small for f16 are not lost. A power of two: scaling alone rounds nothing.
///
/// As PyTorch's `GradScaler`: 65536 at first, half of it when gradients overflow, whose step is then
/// skipped, and twice as much after 2000 steps without.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// The factor.
    pub factor: f32,
    /// Steps taken since it changed, or since a step was skipped.
    pub steps: usize,
}

const INITIAL: f32 = 65_536.0;
const GROWTH_INTERVAL: usize = 2000;
/// Beyond it there is nothing to gain: the smallest f16 times the greatest factor is 1.
const MAX: f32 = 16_777_216.0;

impl LossScale {
    /// The first scale of a model computed in `dtype`; `None` where gradients have the range of f32.
    pub(super) fn of(dtype: DType) -> Option<Self> {
        (dtype == DType::F16).then_some(Self { factor: INITIAL, steps: 0 })
    }

    /// A step was taken.
    pub(super) fn taken(&mut self) {
        self.steps += 1;
        if self.steps == GROWTH_INTERVAL {
            *self = Self { factor: (2.0 * self.factor).min(MAX), steps: 0 };
        }
    }

    /// Gradients were not finite. Whether a lower scale may help.
    pub(super) fn lower(&mut self) -> bool {
        let helps = self.factor > 1.0;
        *self = Self { factor: (0.5 * self.factor).max(1.0), steps: 0 };
        helps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_slowly_and_falls_at_once() {
        assert_eq!([DType::F32, DType::BF16].map(LossScale::of), [None, None]);
        let mut scale = LossScale::of(DType::F16).unwrap();
        (1..GROWTH_INTERVAL).for_each(|_| scale.taken());
        assert_eq!(scale, LossScale { factor: 65_536.0, steps: GROWTH_INTERVAL - 1 });
        scale.taken();
        assert_eq!(scale, LossScale { factor: 131_072.0, steps: 0 });
        scale.taken();
        assert!(scale.lower());
        assert_eq!(scale, LossScale { factor: 65_536.0, steps: 0 });
    }

    #[test]
    fn it_stays_a_factor_that_helps() {
        let mut scale = LossScale { factor: MAX, steps: GROWTH_INTERVAL - 1 };
        scale.taken();
        assert_eq!(scale.factor, MAX);
        assert_eq!((0..30).filter(|_| scale.lower()).count(), 24);
        assert_eq!(scale.factor, 1.0);
    }
}
