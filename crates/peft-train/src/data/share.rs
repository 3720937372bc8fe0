//! Which batches of an epoch one of several devices gets.

use std::num::NonZeroUsize;

/// All batches of an epoch, or those of one device: every `devices`th from its first one on.
#[derive(Clone, Copy)]
pub(super) struct Share {
    devices: NonZeroUsize,
    /// The device's first batch; `None` for all batches.
    first: Option<usize>,
}

impl Share {
    /// All batches, still to be dealt out.
    pub fn of_all(devices: NonZeroUsize) -> Self {
        Self { devices, first: None }
    }

    /// Of the device whose part begins at `start`, where `samples` are cut into as many equal parts
    /// as there are devices; `None` where there is one device.
    pub fn part_at(self, start: usize, samples: usize) -> Option<Self> {
        let devices = self.devices.get();
        let first = start / (samples / devices).max(1);
        (devices > 1).then_some(Self { first: Some(first.min(devices - 1)), ..self })
    }

    /// The first batch of the share that is not among the first `consumed` of the epoch.
    pub fn after(self, consumed: usize) -> usize {
        let first = self.first.unwrap_or(0);
        first + consumed.saturating_sub(first).div_ceil(self.stride()) * self.stride()
    }

    /// From one batch of the share to its next.
    pub fn stride(self) -> usize {
        self.first.map_or(1, |_| self.devices.get())
    }

    /// Whether it tells the progress of the epoch. The Learner adds up what the devices tell that had
    /// a batch, and takes an epoch for complete where all is processed: the first device, which never
    /// has fewer batches than another, speaks for all.
    pub fn tells_progress(self) -> bool {
        matches!(self.first, None | Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Batch, BatchLoader, Part, Sample};
    use burn::data::dataloader::split::split_dataloader;
    use burn::data::dataloader::{DataLoader, Progress};
    use burn::tensor::Device;
    use std::sync::Arc;

    const SAMPLES: usize = 11;

    fn of(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    /// Eleven samples in batches of two. Sample `i` has `i` targets.
    fn loader() -> BatchLoader {
        let samples =
            (0..SAMPLES).map(|targets| Sample::new(vec![1; targets + 1], vec![1; targets + 1]));
        BatchLoader::new(samples.collect(), of(2), Device::default())
    }

    /// Rounds of batches as the Learner takes them, one from each device that still has one, with
    /// the progress it adds up.
    fn rounds(loader: BatchLoader, devices: usize) -> Vec<(Vec<usize>, Progress)> {
        let shares = split_dataloader(Arc::new(loader), &vec![Device::default(); devices]);
        assert_eq!(shares.iter().map(|share| share.num_items()).sum::<usize>(), SAMPLES);
        let mut epochs: Vec<_> = shares.iter().map(|share| share.iter()).collect();
        let round = || {
            let batches: Vec<_> = epochs
                .iter_mut()
                .filter_map(|epoch| Some((epoch.next()?.unwrap().index, epoch.progress())))
                .collect();
            let sum = |part: fn(&Progress) -> usize| batches.iter().map(|(_, p)| part(p)).sum();
            let progress = Progress::new(sum(|p| p.items_processed), sum(|p| p.items_total), None);
            let indices: Vec<_> = batches.iter().map(|(index, _)| *index).collect();
            (!indices.is_empty()).then_some((indices, progress))
        };
        std::iter::from_fn(round).collect()
    }

    #[test]
    fn devices_get_consecutive_batches_and_the_last_round_may_be_short() {
        for (devices, batches, want, done) in [
            (2, 0..99, vec![vec![0, 1], vec![2, 3], vec![4, 5]], vec![4, 8, 11]),
            (2, 4..99, vec![vec![4, 5]], vec![11]),
            (2, 0..4, vec![vec![0, 1], vec![2, 3]], vec![4, 8]),
            (2, 2..4, vec![vec![2, 3]], vec![8]),
            (3, 0..99, vec![vec![0, 1, 2], vec![3, 4, 5]], vec![6, 11]),
            (3, 0..3, vec![vec![0, 1, 2]], vec![6]),
            (4, 0..99, vec![vec![0, 1, 2, 3], vec![4, 5]], vec![8, 11]),
            (4, 4..99, vec![vec![4, 5]], vec![11]),
            (5, 0..99, vec![vec![0, 1, 2, 3, 4], vec![5]], vec![10, 11]),
        ] {
            let part = move || Part { epoch: 0, batches: batches.clone() };
            let rounds = rounds(loader().shuffled(7).dealt_to(of(devices)).yielding(part), devices);
            for ((_, progress), done) in rounds.iter().zip(&done) {
                assert_eq!((progress.items_processed, progress.items_total), (*done, SAMPLES));
                assert_eq!(progress.is_completed(), *done == SAMPLES);
            }
            let indices: Vec<_> = rounds.into_iter().map(|(indices, _)| indices).collect();
            assert_eq!(indices, want, "{devices} devices");
        }
    }

    #[test]
    fn batches_are_those_of_one_device() {
        let ids = |loader: &dyn DataLoader<Batch>| -> Vec<(usize, usize)> {
            let batches = loader.iter().map(|batch| batch.unwrap());
            batches.map(|batch| (batch.index, batch.target_tokens)).collect()
        };
        let whole = ids(&loader().shuffled(7));
        let dealt = loader().shuffled(7).dealt_to(of(2));
        let mut parts = [dealt.slice(0, 5), dealt.slice(5, 11)].map(|part| ids(&*part)).concat();
        parts.sort_unstable();
        assert_eq!(parts, whole);
    }

    #[test]
    fn a_batch_knows_the_targets_of_its_step() {
        let targets = |loader: &dyn DataLoader<Batch>| -> Vec<usize> {
            loader.iter().map(|batch| batch.unwrap().step_targets).collect()
        };
        let loader = loader(); // batches of 1, 5, 9, 13, 17 and 10 targets
        assert_eq!(targets(&loader), [1, 5, 9, 13, 17, 10]);
        let loader = loader.in_steps_of(of(4));
        assert_eq!(targets(&loader), [28, 28, 28, 28, 27, 27]);
        assert_eq!(targets(&*loader.dealt_to(of(2)).slice(5, 11)), [28, 28, 27]);
    }
}
