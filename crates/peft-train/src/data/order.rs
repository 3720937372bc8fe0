//! The order of the samples in an epoch.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// The permutation of `0..len` in which epoch `epoch` (counted from 0) visits the samples.
///
/// It depends on nothing but its arguments: no generator is carried from one epoch to the next,
/// so a run that resumes anywhere sees the order it would have seen. Each epoch draws from its
/// own ChaCha stream of `seed`; the shuffle draws 32-bit numbers, so that the machine's word size
/// does not matter (up to 2³² samples).
pub fn epoch_order(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    permutation(seed, epoch, len)
}

/// The stream by which validation samples are chosen; epochs never get that far.
pub(super) const VALIDATION: u64 = u64::MAX;
/// The stream that says which samples are packed into a row.
pub(super) const PACKING: u64 = u64::MAX - 1;
/// The stream by which a part of the first dataset is chosen; the next dataset's is one lower.
pub(super) const WEIGHTS: u64 = u64::MAX - 2;

/// A permutation of `0..len` that depends on nothing but its arguments.
pub(super) fn permutation(seed: u64, stream: u64, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut rng(seed, stream));
    order
}

/// The places, ascending, of `count` of `len` things chosen at random.
pub(super) fn choose(seed: u64, stream: u64, len: usize, count: usize) -> Vec<usize> {
    let mut chosen = permutation(seed, stream, len);
    chosen.truncate(count);
    chosen.sort_unstable();
    chosen
}

fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Batches among which samples of like length are put together.
const BATCHES_PER_GROUP: usize = 32;

/// Rearranges an epoch's `order` so that a batch holds samples of like length and little padding:
/// within each run of a few batches samples are sorted by `length`, and then the batches are
/// shuffled, so that short ones do not come first. Still a function of the seed and the epoch.
pub fn group_by_length(
    order: Vec<usize>,
    batch_size: usize,
    seed: u64,
    epoch: u64,
    length: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let mut rng = rng(seed, epoch);
    let mut grouped = Vec::with_capacity(order.len());
    for group in order.chunks(batch_size.saturating_mul(BATCHES_PER_GROUP)) {
        let mut group = group.to_vec();
        group.sort_by_key(|&index| length(index));
        let partial = group.split_off(group.len() / batch_size * batch_size);
        let mut batches: Vec<&[usize]> = group.chunks(batch_size).collect();
        batches.shuffle(&mut rng);
        grouped.extend(batches.concat());
        grouped.extend(partial); // only in the last group: the partial batch stays the last one
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation() {
        for len in [0, 1, 2, 257] {
            let mut order = epoch_order(7, 3, len);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..len));
        }
    }

    #[test]
    fn seeds_and_epochs_have_orders_of_their_own() {
        let order = epoch_order(7, 3, 64);
        assert_ne!(order, epoch_order(8, 3, 64));
        assert_ne!(order, epoch_order(7, 4, 64));
    }

    #[test]
    fn what_is_chosen_is_part_of_the_whole_in_order() {
        let chosen = choose(7, WEIGHTS, 20, 5);
        assert!(chosen.len() == 5 && chosen.is_sorted() && chosen[4] < 20);
        assert_ne!(chosen, choose(7, VALIDATION, 20, 5));
        assert!(choose(7, WEIGHTS, 20, 20).into_iter().eq(0..20));
    }

    #[test]
    fn grouping_keeps_the_samples_and_puts_like_lengths_together() {
        let length = |index: usize| index * 7 % 50;
        let order = epoch_order(7, 3, 1003);
        let grouped = group_by_length(order.clone(), 10, 7, 3, length);
        let sorted = |mut order: Vec<usize>| {
            order.sort_unstable();
            order
        };
        assert_eq!(sorted(grouped.clone()), sorted(order.clone()));
        let padding = |order: &[usize]| -> usize {
            let of = |batch: &[usize]| {
                let longest = batch.iter().map(|&i| length(i)).max().unwrap();
                batch.iter().map(|&i| longest - length(i)).sum::<usize>()
            };
            order.chunks(10).map(of).sum()
        };
        assert!(padding(&grouped) * 5 < padding(&order));
        let first: Vec<_> = grouped.chunks(10).take(4).map(|batch| length(batch[0])).collect();
        assert!(!first.is_sorted(), "batches are shuffled: {first:?}");
    }

    /// A checkpoint stores no order, only the seed and the position: an order that changes with
    /// a release, a dependency or a platform would break its resume silently.
    #[test]
    fn the_order_never_changes() {
        assert_eq!(epoch_order(42, 0, 8), [7, 1, 5, 4, 6, 0, 3, 2]);
        assert_eq!(epoch_order(42, 1, 8), [6, 4, 5, 3, 2, 1, 0, 7]);
    }
}
