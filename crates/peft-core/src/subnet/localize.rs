//! Greedy localisation: the rows and columns whose block gathers the most importance.

use burn::tensor::{Int, Tensor};
use serde::Serialize;

use super::{Subnet, gather, index_tensor};

/// Order in which rows and columns are chosen (LoSiA, algorithm 1 and its code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Both by their sums over the whole matrix (the reference's `PureGreedy`).
    Independent,
    /// Columns (output neurons) first, then rows by their sums over those columns
    /// (`Row2Column` on the reference's transposed weight).
    ColumnsFirst,
    /// Rows (input neurons) first, then columns by their sums over those rows (`Column2Row`).
    RowsFirst,
}

/// Every strategy, in the order the reference tries them: the first wins a tie.
const STRATEGIES: [Strategy; 3] =
    [Strategy::Independent, Strategy::ColumnsFirst, Strategy::RowsFirst];

/// A chosen subnet and what it gathers.
#[derive(Debug, Clone)]
pub struct Localized {
    /// The chosen rows and columns.
    pub subnet: Subnet,
    /// The strategy that found them.
    pub strategy: Strategy,
    /// Sum of the scores inside the subnet.
    pub score_sum: f64,
    /// Sum of all scores.
    pub score_total: f64,
}

/// Picks `size = [rows, columns]` of a score matrix by the best of three greedy orders. Equal sums
/// go to the lower index. Only sums of rows and columns travel to the host, never the matrix.
///
/// `None` if no sum can be ordered: some score is not a number.
///
/// `size` is at least 1 and at most the dimension, as [`subnet_size`](super::subnet_size) gives it.
pub fn localize(score: &Tensor<2>, size: [usize; 2]) -> Option<Localized> {
    let better = |best: Localized, next: Localized| match next.score_sum > best.score_sum {
        true => next,
        false => best,
    };
    candidates(score, size).into_iter().reduce(better)
}

/// What each strategy picks for [`localize`] to choose from, in the order in which they are tried; without
/// those whose sum is not a number.
pub fn candidates(score: &Tensor<2>, size: [usize; 2]) -> Vec<Localized> {
    let shape = score.dims();
    let row_sums = sums(score.clone(), 1);
    let col_sums = sums(score.clone(), 0);
    let score_total: f64 = row_sums.iter().map(|&sum| sum as f64).sum();
    if score_total.is_nan() {
        return Vec::new();
    }
    let found = |strategy| {
        let (rows, cols) = match strategy {
            Strategy::Independent => (top(&row_sums, size[0]), top(&col_sums, size[1])),
            Strategy::ColumnsFirst => {
                let cols = top(&col_sums, size[1]);
                let within = sums(score.clone().select(1, indices(&cols, score)), 1);
                (top(&within, size[0]), cols)
            }
            Strategy::RowsFirst => {
                let rows = top(&row_sums, size[0]);
                let within = sums(score.clone().select(0, indices(&rows, score)), 0);
                (rows, top(&within, size[1]))
            }
        };
        let block = gather(score.clone(), indices(&rows, score), indices(&cols, score));
        let score_sum = f64::from(block.sum().into_scalar::<f32>());
        let subnet = Subnet::new(rows, cols, shape).ok()?;
        (!score_sum.is_nan()).then_some(Localized { subnet, strategy, score_sum, score_total })
    };
    STRATEGIES.into_iter().filter_map(found).collect()
}

fn sums(score: Tensor<2>, over: usize) -> Vec<f32> {
    score.sum_dim(over).into_data().iter::<f32>().collect()
}

fn indices(of: &[usize], like: &Tensor<2>) -> Tensor<1, Int> {
    index_tensor(of, &like.device())
}

/// Indices of the `count` largest values, ascending.
fn top(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    fn found<const R: usize, const C: usize>(
        score: [[f32; C]; R],
        size: [usize; 2],
    ) -> Option<Localized> {
        localize(&Tensor::from_data(score, &device()), size)
    }

    /// Heavy first row and first column, whose crossing is empty.
    const CROSS: [[f32; 3]; 3] = [[0.0, 5.0, 6.0], [4.0, 1.0, 0.0], [4.0, 0.0, 0.0]];

    #[test]
    fn each_strategy_wins_where_it_gathers_most() {
        let corner = [[9.0, 1.0], [1.0, 0.0]];
        let best = found(corner, [1, 1]).unwrap();
        assert_eq!((best.strategy, best.score_sum), (Strategy::Independent, 9.0));
        assert_eq!(best.score_total, 11.0);

        let best = found(CROSS, [1, 1]).unwrap();
        assert_eq!((best.strategy, best.score_sum), (Strategy::RowsFirst, 6.0));
        assert_eq!((best.subnet.rows(), best.subnet.cols()), (&[0][..], &[2][..]));

        let mut transposed = CROSS;
        for (row, values) in transposed.iter_mut().enumerate() {
            for (col, value) in values.iter_mut().enumerate() {
                *value = CROSS[col][row];
            }
        }
        let best = found(transposed, [1, 1]).unwrap();
        assert_eq!((best.strategy, best.score_sum), (Strategy::ColumnsFirst, 6.0));
        assert_eq!((best.subnet.rows(), best.subnet.cols()), (&[2][..], &[0][..]));
    }

    #[test]
    fn every_strategy_has_its_own_choice() {
        let score = Tensor::from_data(CROSS, &device());
        let found = candidates(&score, [1, 1]);
        let sums: Vec<_> = found.iter().map(|found| (found.strategy, found.score_sum)).collect();
        // The heaviest column is the first, in which row 1 is the first of the heaviest.
        let want = [
            (Strategy::Independent, 0.0),
            (Strategy::ColumnsFirst, 4.0),
            (Strategy::RowsFirst, 6.0),
        ];
        assert_eq!(sums, want);
    }

    #[test]
    fn ties_go_to_the_lower_index_and_the_first_strategy() {
        let best = found([[1.0; 4]; 3], [2, 3]).unwrap();
        assert_eq!(best.strategy, Strategy::Independent);
        assert_eq!((best.subnet.rows(), best.subnet.cols()), (&[0, 1][..], &[0, 1, 2][..]));
        let best = found([[0.0; 4]; 3], [1, 1]).unwrap();
        assert_eq!(best.score_sum, 0.0, "nothing to gain is still a choice");
    }

    #[test]
    fn chosen_indices_are_sorted_whatever_their_scores() {
        let best = found([[1.0, 0.0, 3.0, 2.0]], [1, 3]).unwrap();
        assert_eq!(best.subnet.cols(), [0, 2, 3]);
    }

    #[test]
    fn what_is_not_a_number_cannot_be_ordered() {
        assert!(found([[1.0, f32::NAN], [2.0, 3.0]], [1, 1]).is_none());
        assert!(found([[f32::INFINITY, f32::NEG_INFINITY]], [1, 1]).is_none());
        assert!(found([[f32::INFINITY, 1.0]], [1, 1]).is_some());
    }
}
