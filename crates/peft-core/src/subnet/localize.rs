//! Greedy localisation: the rows and columns whose block gathers the most importance.

use burn::tensor::{Int, Tensor, TensorData};
use serde::Serialize;

use super::{Subnet, gather};

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
pub fn localize(score: &Tensor<2>, size: [usize; 2]) -> Option<Localized> {
    let shape = score.dims();
    let row_sums = sums(score.clone(), 1);
    let col_sums = sums(score.clone(), 0);
    let score_total: f64 = row_sums.iter().map(|&sum| sum as f64).sum();
    if score_total.is_nan() {
        return None;
    }
    let mut best: Option<Localized> = None;
    for strategy in STRATEGIES {
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
        let beats = best.as_ref().is_none_or(|best| score_sum > best.score_sum);
        if beats && !score_sum.is_nan() {
            let subnet = Subnet::new(rows, cols, shape).ok()?;
            best = Some(Localized { subnet, strategy, score_sum, score_total });
        }
    }
    best
}

fn sums(score: Tensor<2>, over: usize) -> Vec<f32> {
    score.sum_dim(over).into_data().iter::<f32>().collect()
}

fn indices(of: &[usize], like: &Tensor<2>) -> Tensor<1, Int> {
    let data: Vec<i64> = of.iter().map(|&i| i as i64).collect();
    Tensor::from_data(TensorData::new(data, [of.len()]), &like.device())
}

/// Indices of the `count` largest values, ascending.
fn top(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order
}
