//! Cuts: when triplets are pruned, which, and what becomes of them.

use burn::tensor::Tensor;

use super::allocate::{Allocation, above, threshold};
use super::target::E;
use super::{AdaLora, RankImportance};
use crate::adapter::low_rank::Stepped;
use crate::{Error, Plan};

impl AdaLora {
    /// Whether triplets are pruned at the end of `step`.
    pub(super) fn cut_due(&self, step: usize) -> bool {
        let last = self.budget.last_cut();
        !self.allocated && (step == last || (step < last && self.budget.mask_due(step)))
    }

    /// Smooths the importance of every entry, until the last cut.
    pub(super) fn gather(&mut self, step: usize, stepped: &[Vec<Stepped>]) {
        let gathers = !self.allocated && step < self.budget.final_from();
        if !gathers || self.config.importance != RankImportance::Smoothed {
            return;
        }
        for (target, stepped) in self.targets.iter_mut().zip(stepped) {
            target.gather(stepped, &self.config);
        }
    }

    /// Prunes all triplets but those the budget of `step` keeps.
    pub(super) fn cut(
        &mut self,
        step: usize,
        stepped: &[Vec<Stepped>],
    ) -> Result<Allocation, Error> {
        let scores = self.scores(stepped);
        let unusable = scores.iter().position(|scores| scores.iter().any(|s| !s.is_finite()));
        if let Some(index) = unusable {
            let path = self.targets[index].low_rank.path.clone();
            return Err(Error::NotFinite { path, step });
        }
        let budget = match step == self.budget.last_cut() {
            true => self.budget.target,
            false => self.budget.budget(step),
        };
        let threshold = threshold(&scores, self.budget.initial - budget);
        for (target, scores) in self.targets.iter_mut().zip(&scores) {
            target.kept = above(scores, threshold);
        }
        let ranks = self.targets.iter().map(|t| (t.low_rank.path.clone(), t.rank())).collect();
        Ok(Allocation { budget, threshold, ranks })
    }

    /// Scores of all triplets by weight, read back from the device at once.
    fn scores(&self, stepped: &[Vec<Stepped>]) -> Vec<Vec<f32>> {
        let targets = self.targets.iter().zip(stepped);
        let scores =
            targets.map(|(target, stepped)| target.scores(stepped, self.config.importance));
        let all = Tensor::cat(scores.collect(), 1).into_data();
        let all: Vec<f32> = all.iter::<f32>().collect();
        all.chunks(self.config.init_r).map(<[f32]>::to_vec).collect()
    }

    /// Plans what a step left, pruned triplets dropped or masked.
    pub(super) fn plan(
        &mut self,
        step: usize,
        due: bool,
        stepped: Vec<Vec<Stepped>>,
        plan: &mut Plan,
    ) {
        let last = due && step == self.budget.last_cut();
        let masks = due || (self.allocated && !self.config.compact);
        for (target, stepped) in self.targets.iter_mut().zip(stepped) {
            let mut values: Vec<_> = stepped.into_iter().map(|(value, _)| value).collect();
            if masks && target.low_rank.rank() == target.kept.len() {
                values[E] = target.masked(values[E].clone());
            }
            if last {
                target.importance.clear();
            }
            if last && self.config.compact {
                let keep = target.kept_indices();
                target.low_rank.shrink(values, &keep, plan);
                continue;
            }
            for (factor, value) in target.low_rank.factors.iter().zip(values) {
                plan.set(factor.id, value);
            }
        }
        self.allocated |= last;
    }
}
