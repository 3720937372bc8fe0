//! Which samples of several datasets an epoch holds: validation samples are held back, and what is
//! left is repeated or thinned out by the dataset's weight.

use super::order::{VALIDATION, WEIGHTS, choose};
use super::{DataError, Sample};

/// Takes validation samples out of `datasets`, chosen by `seed` among all their samples; returned
/// in the datasets' order. A `size` below 1 is a fraction of all, any other a number of samples.
///
/// # Errors
/// [`DataError::ValSetSize`] for a size that is negative, no whole number, or leaves nothing to
/// train on.
pub(super) fn hold_back(
    datasets: &mut [Vec<Sample>],
    size: f64,
    seed: u64,
) -> Result<Vec<Sample>, DataError> {
    let samples: usize = datasets.iter().map(Vec::len).sum();
    let count =
        validation_count(size, samples).ok_or(DataError::ValSetSize { found: size, samples })?;
    let mut chosen = choose(seed, VALIDATION, samples, count).into_iter().peekable();
    let mut held_back = Vec::with_capacity(count);
    let mut place = 0;
    for dataset in datasets {
        let is_chosen = |_: &mut Sample| {
            place += 1;
            chosen.next_if_eq(&(place - 1)).is_some()
        };
        held_back.extend(dataset.extract_if(.., is_chosen));
    }
    Ok(held_back)
}

fn validation_count(size: f64, samples: usize) -> Option<usize> {
    let count = match size {
        fraction if (0.0..1.0).contains(&fraction) => (fraction * samples as f64).round(),
        count => count,
    };
    (count >= 0.0 && count.fract() == 0.0 && count < samples as f64).then_some(count as usize)
}

/// The samples of an epoch: every sample as often as the whole part of `weight` says, and once
/// more a share of them as large as the rest, chosen by `seed`; at least one.
///
/// `dataset` is the dataset's place among those of the run.
pub(super) fn weighted(
    mut samples: Vec<Sample>,
    weight: f64,
    seed: u64,
    dataset: usize,
) -> Vec<Sample> {
    let (whole, share) = (weight as usize, weight.fract());
    let count = (share * samples.len() as f64).round() as usize;
    let count = if whole == 0 { count.max(1).min(samples.len()) } else { count };
    let chosen = choose(seed, WEIGHTS - dataset as u64, samples.len(), count);
    let rest: Vec<Sample> = chosen.into_iter().map(|index| samples[index].clone()).collect();
    let once = samples.len();
    match whole {
        0 => samples.clear(),
        times => (1..times).for_each(|_| samples.extend_from_within(..once)),
    }
    samples.extend(rest);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ids: std::ops::Range<u32>) -> Vec<Sample> {
        ids.map(|id| Sample::new(vec![id], vec![id.into()])).collect()
    }

    fn ids(samples: &[Sample]) -> Vec<u32> {
        samples.iter().map(|sample| sample.input_ids[0]).collect()
    }

    #[test]
    fn validation_samples_are_chosen_by_the_seed_and_trained_on_no_more() {
        let hold = |size, seed| {
            let mut datasets = [samples(0..10), samples(10..40)];
            let held_back = ids(&hold_back(&mut datasets, size, seed).unwrap());
            let left = ids(&datasets.concat());
            let mut all = [&*held_back, &*left].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..40));
            held_back
        };
        assert_eq!(hold(0.1, 1).len(), 4);
        assert_eq!(hold(7.0, 1).len(), 7);
        assert!(hold(0.0, 1).is_empty());
        assert_eq!(hold(7.0, 1), hold(7.0, 1));
        assert_ne!(hold(7.0, 1), hold(7.0, 2));
        assert!(hold(7.0, 1).is_sorted());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [-0.1, 1.5, 10.0, 0.99, f64::NAN, f64::INFINITY] {
            let error = hold_back(&mut [samples(0..10)], size, 0).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`val_set_size` is {size}, expected")), "{error}");
        }
    }

    #[test]
    fn a_weight_says_how_often_a_sample_is_seen() {
        let of = |weight| ids(&weighted(samples(0..10), weight, 3, 0));
        assert!(of(1.0).into_iter().eq(0..10));
        let mut twice = of(2.0);
        twice.sort_unstable();
        assert!(twice.into_iter().eq((0..20).map(|at| at / 2)));
        let half = of(0.5);
        assert!(half.len() == 5 && half.is_sorted());
        assert_eq!(of(2.5).len(), 25);
        assert_eq!(of(0.001).len(), 1);
        assert_ne!(half, ids(&weighted(samples(0..10), 0.5, 4, 0)));
        assert_ne!(half, ids(&weighted(samples(0..10), 0.5, 3, 1)));
    }
}
