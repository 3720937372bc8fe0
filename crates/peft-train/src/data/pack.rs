//! Several samples in one row.

use std::cmp::Reverse;

use super::Sample;
use super::order::{PACKING, permutation};
use super::sample::IGNORE_INDEX;

/// Samples among which those that fill a row are looked for. Within the whole dataset rows would
/// be filled hardly better, but the longest samples would always meet the shortest ones.
const WINDOW: usize = 4096;

/// Packs `samples` into rows of at most `sequence_len` tokens, each row a [`Sample`] that knows
/// where its documents begin: the longest sample first, into the first row with room for it, among
/// some thousand samples at a time that `seed` puts together. A longer sample gets a row of its
/// own.
///
/// Rows are made once and then shuffled in every epoch, so all epochs have the same number of
/// batches. The loss of a row is that of its documents: none has a target at its first token.
pub fn pack(samples: Vec<Sample>, sequence_len: usize, seed: u64) -> Vec<Sample> {
    let order = permutation(seed, PACKING, samples.len());
    let rows = order.chunks(WINDOW).flat_map(|window| fill(window, &samples, sequence_len));
    rows.map(|row| join(&row, &samples)).collect()
}

/// First-fit decreasing: the samples of each row.
fn fill(window: &[usize], samples: &[Sample], sequence_len: usize) -> Vec<Vec<usize>> {
    let length = |index: usize| samples[index].input_ids.len();
    let mut window = window.to_vec();
    window.sort_by_key(|&index| Reverse(length(index)));
    let (mut rows, mut room): (Vec<Vec<usize>>, Vec<usize>) = (Vec::new(), Vec::new());
    for index in window {
        match room.iter().position(|&room| length(index) <= room) {
            Some(row) => {
                rows[row].push(index);
                room[row] -= length(index);
            }
            None => {
                rows.push(vec![index]);
                room.push(sequence_len.saturating_sub(length(index)));
            }
        }
    }
    rows
}

fn join(row: &[usize], samples: &[Sample]) -> Sample {
    let mut joined = Sample::new(Vec::new(), Vec::new());
    for &index in row {
        let start = joined.input_ids.len();
        joined.input_ids.extend(&samples[index].input_ids);
        joined.labels.extend(&samples[index].labels);
        if start > 0 {
            joined.document_starts.push(start);
            joined.labels[start] = IGNORE_INDEX; // the token before it is another document's
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of these lengths, each of a token of its own.
    fn samples(lengths: &[usize]) -> Vec<Sample> {
        let sample = |(id, &length): (usize, &usize)| {
            Sample::new(vec![id as u32; length], vec![id as i64; length])
        };
        lengths.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn rows_are_filled_and_keep_their_documents_apart() {
        let rows = pack(samples(&[2, 5, 3, 6]), 8, 0);
        let mut ids: Vec<_> = rows.iter().map(|row| row.input_ids.clone()).collect();
        ids.sort();
        assert_eq!(ids, [[1, 1, 1, 1, 1, 2, 2, 2], [3, 3, 3, 3, 3, 3, 0, 0]]);
        let row = rows.iter().find(|row| row.input_ids[0] == 1).unwrap();
        assert_eq!(row.document_starts, [5]);
        assert_eq!(row.labels, [1, 1, 1, 1, 1, -100, 2, 2]);
    }

    #[test]
    fn nothing_is_lost_and_no_row_is_too_long() {
        let lengths: Vec<usize> = (0..9000).map(|at| at * at % 61 + 1).collect();
        let samples = samples(&lengths);
        let sum = |samples: &[Sample], of: fn(&Sample) -> usize| samples.iter().map(of).sum();
        let (tokens, targets): (usize, usize) =
            (sum(&samples, |sample| sample.input_ids.len()), sum(&samples, Sample::target_tokens));
        let rows = pack(samples.clone(), 64, 5);
        assert!(rows.iter().all(|row| row.input_ids.len() <= 64));
        assert_eq!(sum(&rows, |row| row.input_ids.len()), tokens);
        assert_eq!(sum(&rows, Sample::target_tokens), targets);
        assert!(tokens * 100 > rows.len() * 64 * 98, "{tokens} tokens in {} rows", rows.len());
        assert_eq!(rows, pack(samples.clone(), 64, 5));
        assert_ne!(rows, pack(samples, 64, 6));
    }

    #[test]
    fn a_sample_that_is_too_long_is_left_alone() {
        let rows = pack(samples(&[9, 1]), 8, 0);
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.document_starts.is_empty()));
        assert!(pack(Vec::new(), 8, 0).is_empty());
    }
}
