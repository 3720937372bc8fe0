//! Which triplets a budget keeps.

use serde::Serialize;

/// A distribution of the rank budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Allocation {
    /// Triplets the schedule allows.
    pub budget: usize,
    /// Score at and below which triplets are pruned; `None` if the budget keeps all.
    pub threshold: Option<f32>,
    /// Triplets kept, by path of the weight.
    pub ranks: Vec<(String, usize)>,
}

/// The `k`-th smallest of all scores, counted from 1; `None` for `k = 0`, or if a score is not a
/// number.
pub(super) fn threshold(scores: &[Vec<f32>], k: usize) -> Option<f32> {
    let mut all: Vec<f32> = scores.concat();
    if k == 0 || all.iter().any(|score| score.is_nan()) {
        return None;
    }
    let index = k.min(all.len()) - 1;
    let (_, kth, _) = all.select_nth_unstable_by(index, f32::total_cmp);
    Some(*kth)
}

/// Which triplets are above the threshold: ties with it are all pruned, as in the references.
pub(super) fn above(scores: &[f32], threshold: Option<f32>) -> Vec<bool> {
    scores.iter().map(|&score| threshold.is_none_or(|threshold| score > threshold)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_scores_of_all_weights_together_are_pruned() {
        let scores = [vec![0.5, 0.1, 0.4], vec![0.2, 0.9, 0.3]];
        let kept = |k| scores.each_ref().map(|s| above(s, threshold(&scores, k)));
        assert_eq!(kept(0), [[true; 3]; 2].map(Vec::from), "nothing to prune");
        assert_eq!(kept(3), [vec![true, false, true], vec![false, true, false]]);
        assert_eq!(kept(6), [[false; 3]; 2].map(Vec::from));
    }

    #[test]
    fn ties_with_the_threshold_all_go() {
        let scores = [vec![0.0, 0.0, 1.0]];
        assert_eq!(above(&scores[0], threshold(&scores, 1)), [false, false, true]);
        assert_eq!(threshold(&[vec![f32::NAN, 1.0]], 1), None);
    }
}
