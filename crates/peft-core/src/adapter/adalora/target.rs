//! One adapted weight and its share of the method's state.

use burn::tensor::{Bool, Tensor, TensorData};

use super::{AdaLoraConfig, Orthogonality, RankImportance, penalty};
use crate::adapter::low_rank::{LowRankTarget, Stepped};
use crate::{Error, Importance, Params, Sensitivity};

/// Positions of the factors.
pub(super) const A: usize = 0;
pub(super) const E: usize = 1;
pub(super) const B: usize = 2;

#[derive(Debug)]
pub(super) struct AdaLoraTarget {
    pub low_rank: LowRankTarget,
    /// By factor; empty before the first step and after the last cut.
    pub importance: Vec<Importance>,
    /// Which of the first `init_r` triplets the latest cut kept.
    pub kept: Vec<bool>,
}

impl AdaLoraTarget {
    /// Value and gradients of the regulariser: of A's columns and of B's rows.
    pub fn penalty(
        &self,
        form: Orthogonality,
        params: &Params,
    ) -> Result<(Tensor<1>, [(usize, Tensor<2>); 2]), Error> {
        let (a, a_grad) = penalty::of_columns(self.low_rank.value(A, params)?, form);
        let (b, b_grad) = penalty::of_rows(self.low_rank.value(B, params)?, form);
        Ok((a.add(b), [(A, a_grad), (B, b_grad)]))
    }

    /// Smooths the importance of every entry after a step.
    pub fn gather(&mut self, stepped: &[Stepped], config: &AdaLoraConfig) {
        let (b1, b2) = (config.beta1, config.beta2);
        let mut before = std::mem::take(&mut self.importance).into_iter();
        let next = |stepped| match (sensitivity(stepped), before.next()) {
            (sample, Some(importance)) => importance.update(sample, b1, b2),
            (sample, None) => Importance::first(sample, b1, b2),
        };
        self.importance = stepped.iter().map(next).collect();
    }

    /// Scores of the triplets, `[1, r]`.
    pub fn scores(&self, stepped: &[Stepped], importance: RankImportance) -> Tensor<2> {
        match importance {
            RankImportance::Smoothed => {
                triplets([A, E, B].map(|index| self.importance[index].score()))
            }
            RankImportance::Sensitivity => {
                triplets([A, E, B].map(|index| sensitivity(&stepped[index])))
            }
            RankImportance::Magnitude => stepped[E].0.clone().abs(),
        }
    }

    /// The singular values with those of pruned triplets at zero.
    pub fn masked(&self, e: Tensor<2>) -> Tensor<2> {
        let pruned: Vec<bool> = self.kept.iter().map(|kept| !kept).collect();
        let shape = [1, pruned.len()];
        let pruned = Tensor::<2, Bool>::from_data(TensorData::new(pruned, shape), &e.device());
        e.mask_fill(pruned, 0.0)
    }

    /// Indices of the triplets kept.
    pub fn kept_indices(&self) -> Vec<usize> {
        (0..self.kept.len()).filter(|&index| self.kept[index]).collect()
    }

    pub fn rank(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }
}

/// `|w · ∂L/∂w|` with the value after the step and the gradient before it, as in the references.
fn sensitivity((value, grad): &Stepped) -> Tensor<2> {
    match grad {
        Some(grad) => Sensitivity::ParamFirst.of(value.clone(), grad.clone()),
        None => value.zeros_like(), // not part of the forward pass
    }
}

/// That of Λ plus the means over a triplet's vectors, `[1, r]`.
fn triplets([a, e, b]: [Tensor<2>; 3]) -> Tensor<2> {
    e.add(a.mean_dim(0)).add(b.mean_dim(1).transpose())
}
