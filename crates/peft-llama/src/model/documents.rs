//! Several documents in one row.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Where the documents of each row of a batch begin, kept on the host.
pub(super) struct Documents<'a> {
    starts: &'a [Vec<usize>],
    seq: usize,
}

impl<'a> Documents<'a> {
    /// `starts[row]` are the columns, ascending, in which documents begin; the first document of
    /// a row begins at 0, named or not. `None` where every row is one document.
    pub fn new(starts: &'a [Vec<usize>], seq: usize) -> Option<Self> {
        let several = starts.iter().flatten().any(|&start| start > 0);
        several.then_some(Self { starts, seq })
    }

    /// Positions of each row's tokens, counted from the beginning of their document.
    pub fn positions(&self) -> Vec<Vec<usize>> {
        let row = |starts: &Vec<usize>| {
            let position = |column| column - begun(starts, column).last().unwrap_or(&0);
            (0..self.seq).map(position).collect()
        };
        self.starts.iter().map(row).collect()
    }

    /// `[batch, seq]`: a number for each token that tokens of the same document share.
    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        let row = |starts: &'a Vec<usize>| {
            (0..self.seq).map(|column| begun(starts, column).iter().filter(|&&s| s > 0).count())
        };
        let ids: Vec<i64> = self.starts.iter().flat_map(row).map(|id| id as i64).collect();
        Tensor::from_data(TensorData::new(ids, [self.starts.len(), self.seq]), device)
    }
}

/// The starts up to `column`.
fn begun(starts: &[usize], column: usize) -> &[usize] {
    &starts[..starts.partition_point(|&start| start <= column)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_testing::device;

    #[test]
    fn positions_restart_and_ids_differ_at_each_start() {
        let starts = [vec![2, 4], vec![], vec![0, 3]];
        let documents = Documents::new(&starts, 5).unwrap();
        assert_eq!(documents.positions(), [[0, 1, 0, 1, 0], [0, 1, 2, 3, 4], [0, 1, 2, 0, 1]]);
        let ids = documents.ids(&device()).try_into_vec_as::<i64>().unwrap();
        assert_eq!(ids, [0, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn rows_of_one_document_are_nothing_special() {
        for starts in [vec![], vec![vec![]], vec![vec![0], vec![]]] {
            assert!(Documents::new(&starts, 5).is_none());
        }
    }
}
