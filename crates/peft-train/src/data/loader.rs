//! The samples as Burn's data loader.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    tensor::Device,
};

use super::{Batch, Sample, epoch_order, order::group_by_length, share::Share};

/// Batches of samples, one epoch per call of [`iter`](DataLoader::iter).
///
/// The Learner does not say which epoch it asks for, so the loader counts: every call of `iter`
/// takes the next epoch. That counter is the loader's only state. It starts where
/// [`resume_at`](Self::resume_at) puts it (at epoch 0 by default), and a loader made by
/// [`to_device`](DataLoader::to_device) or [`slice`](DataLoader::slice) begins at its parent's
/// present epoch and then counts for itself. What an epoch holds is a pure function of the seed
/// and the epoch's number; the last batch of an epoch may be smaller than the others.
///
/// A slice is a range of positions of each epoch's order, so the slices of an epoch together are
/// that epoch, whatever devices they run on. A loader that is [`dealt_to`](Self::dealt_to) several
/// devices is sliced otherwise.
pub struct BatchLoader {
    samples: Arc<[Sample]>,
    positions: Range<usize>,
    share: Share,
    batch_size: NonZeroUsize,
    batches_per_step: NonZeroUsize,
    seed: Option<u64>,
    group_by_length: bool,
    resume: Resume,
    next_epoch: AtomicU64,
    device: Device,
}

/// The batches of `epoch` that were consumed before the run was resumed.
#[derive(Clone, Copy, Default)]
struct Resume {
    epoch: u64,
    batches: usize,
}

impl BatchLoader {
    /// A loader that yields `samples` in their own order, as validation wants it.
    pub fn new(samples: Vec<Sample>, batch_size: NonZeroUsize, device: Device) -> Self {
        Self {
            positions: 0..samples.len(),
            samples: samples.into(),
            share: Share::of_all(NonZeroUsize::MIN),
            batch_size,
            batches_per_step: NonZeroUsize::MIN,
            seed: None,
            group_by_length: false,
            resume: Resume::default(),
            next_epoch: AtomicU64::new(0),
            device,
        }
    }

    /// Orders every epoch by [`epoch_order`] of `seed`.
    pub fn shuffled(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Puts samples of like length into a batch where epochs are shuffled, to save padding.
    pub fn grouped_by_length(self, group_by_length: bool) -> Self {
        Self { group_by_length, ..self }
    }

    /// Puts that many batches into an optimizer step, by which
    /// [`Batch::step_targets`] are counted. One by default; an epoch's last step may have fewer.
    pub fn in_steps_of(self, batches: NonZeroUsize) -> Self {
        Self { batches_per_step: batches, ..self }
    }

    /// Deals the batches out to several devices in turn, so that what the devices compute at the
    /// same time are consecutive batches of the epoch, and a step has the same batches as on one
    /// device. [`slice`](DataLoader::slice) then makes the share of one device, as the Learner cuts
    /// the loader into as many equal parts as there are devices: the part that starts at `start`
    /// samples is that of device `start / (samples / devices)`. The first share tells the progress of
    /// all, the others tell none.
    pub fn dealt_to(self, devices: NonZeroUsize) -> Self {
        Self { share: Share::of_all(devices), ..self }
    }

    /// Goes on in the middle of `epoch` (counted from 0, where the Learner counts from 1): the
    /// first `iter` leaves out its first `batches` batches. A slice leaves out as many of its own,
    /// and the share of a device those of them that are its own.
    pub fn resume_at(self, epoch: u64, batches: usize) -> Self {
        Self { resume: Resume { epoch, batches }, next_epoch: AtomicU64::new(epoch), ..self }
    }

    /// The same loader with a counter of its own.
    pub(crate) fn fork(&self) -> Self {
        Self {
            samples: self.samples.clone(),
            positions: self.positions.clone(),
            share: self.share,
            batch_size: self.batch_size,
            batches_per_step: self.batches_per_step,
            seed: self.seed,
            group_by_length: self.group_by_length,
            resume: self.resume,
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
            device: self.device.clone(),
        }
    }

    /// Indices of this loader's samples in `epoch`.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let Some(seed) = self.seed else { return self.positions.clone().collect() };
        let mut order = epoch_order(seed, epoch, self.samples.len());
        if self.group_by_length {
            let length = |index: usize| self.samples[index].input_ids.len();
            order = group_by_length(order, self.batch_size.get(), seed, epoch, length);
        }
        order[self.positions.clone()].to_vec()
    }

    /// The first batch of `epoch` that this loader has still to yield.
    fn first(&self, epoch: u64) -> usize {
        self.share.after(if epoch == self.resume.epoch { self.resume.batches } else { 0 })
    }

    /// The samples of batch `index`, as positions in this loader's order.
    fn rows(&self, index: usize) -> Range<usize> {
        self.span(index, 1)
    }

    /// The samples of `batches` batches from `index` on.
    fn span(&self, index: usize, batches: usize) -> Range<usize> {
        let at =
            |batch: usize| batch.saturating_mul(self.batch_size.get()).min(self.positions.len());
        at(index)..at(index.saturating_add(batches))
    }
}

impl DataLoader<Batch> for BatchLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        Box::new(Epoch { loader: self, order: self.order(epoch), next: self.first(epoch) })
    }

    fn num_items(&self) -> usize {
        let batches = self.positions.len().div_ceil(self.batch_size.get());
        let own = (self.share.after(0)..batches).step_by(self.share.stride());
        own.map(|index| self.rows(index).len()).sum()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { device: device.clone(), ..self.fork() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        if let Some(share) = self.share.part_at(start, self.positions.len()) {
            return Arc::new(Self { share, ..self.fork() });
        }
        let at =
            |offset: usize| self.positions.start.saturating_add(offset).min(self.positions.end);
        Arc::new(Self { positions: at(start)..at(end).max(at(start)), ..self.fork() })
    }
}

/// The rest of one epoch.
struct Epoch<'a> {
    loader: &'a BatchLoader,
    order: Vec<usize>,
    /// The next batch.
    next: usize,
}

impl Epoch<'_> {
    /// Targets of the optimizer step that batch `index` belongs to.
    fn step_targets(&self, index: usize) -> usize {
        let per_step = self.loader.batches_per_step.get();
        let rows = &self.order[self.loader.span(index / per_step * per_step, per_step)];
        rows.iter().map(|row| self.loader.samples[*row].target_tokens()).sum()
    }
}

impl Iterator for Epoch<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        let rows = &self.order[self.loader.rows(index)];
        if rows.is_empty() {
            return None;
        }
        let samples: Vec<_> = rows.iter().map(|row| &self.loader.samples[*row]).collect();
        self.next += self.loader.share.stride();
        let batch = Batch::collate(&samples, &self.loader.device);
        Some(Ok(Batch { index, step_targets: self.step_targets(index), ..batch }))
    }
}

impl DataLoaderIterator<Batch> for Epoch<'_> {
    /// Samples consumed in this epoch, those before a resume included.
    fn progress(&self) -> Progress {
        let (done, all) = match self.loader.share.tells_progress() {
            true => (self.loader.rows(self.next).start, self.order.len()),
            false => (0, 0),
        };
        Progress::new(done, all, Some("items".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: u32 = 11;

    /// Eleven samples of one token each, 100 to 110, in batches of four.
    fn loader() -> BatchLoader {
        let samples =
            (0..SAMPLES).map(|index| Sample::new(vec![100 + index], vec![i64::from(100 + index)]));
        let batch_size = NonZeroUsize::new(4).unwrap();
        BatchLoader::new(samples.collect(), batch_size, Device::default())
    }

    /// The next epoch's batches, each as the first tokens of its rows.
    fn epoch(loader: &dyn DataLoader<Batch>) -> Vec<Vec<i64>> {
        let first_column = |batch: Batch| {
            let rows = batch.input_ids.dims()[0];
            let ids = batch.input_ids.slice([0..rows, 0..1]).into_data();
            ids.iter().collect()
        };
        loader.iter().map(|batch| first_column(batch.unwrap())).collect()
    }

    /// What a shuffled loader must yield in `epoch`.
    fn expected(seed: u64, epoch: u64) -> Vec<i64> {
        let order = epoch_order(seed, epoch, SAMPLES as usize);
        order.into_iter().map(|index| 100 + index as i64).collect()
    }

    #[test]
    fn without_a_seed_every_epoch_is_in_order_and_keeps_its_last_batch() {
        let loader = loader();
        let batches = [vec![100, 101, 102, 103], vec![104, 105, 106, 107], vec![108, 109, 110]];
        assert_eq!(epoch(&loader), batches);
        assert_eq!(epoch(&loader), batches);
        assert_eq!(loader.num_items(), 11);
    }

    #[test]
    fn every_call_of_iter_is_the_next_epoch() {
        let loader = loader().shuffled(7);
        for number in 0..3 {
            assert_eq!(epoch(&loader).concat(), expected(7, number));
        }
    }

    #[test]
    fn a_resumed_loader_yields_the_remaining_batches() {
        let whole = loader().shuffled(7);
        let epochs = [epoch(&whole), epoch(&whole), epoch(&whole)];
        let resumed = loader().shuffled(7).resume_at(1, 2);
        assert_eq!(epoch(&resumed), epochs[1][2..]);
        assert_eq!(epoch(&resumed), epochs[2]);
        let at_the_end = loader().shuffled(7).resume_at(1, 3);
        assert!(epoch(&at_the_end).is_empty());
        assert_eq!(epoch(&at_the_end), epochs[2]);
    }

    #[test]
    fn progress_counts_the_samples_skipped_by_a_resume() {
        let resumed = loader().shuffled(7).resume_at(0, 1);
        let mut batches = resumed.iter();
        let mut seen = vec![batches.progress().items_processed];
        while batches.next().is_some() {
            seen.push(batches.progress().items_processed);
        }
        assert_eq!(seen, [4, 8, 11]);
        assert!(batches.progress().is_completed());
    }

    #[test]
    fn a_loader_moved_to_a_device_keeps_its_place_and_counts_for_itself() {
        let parent = loader().shuffled(7).resume_at(4, 1);
        let moved = parent.to_device(&Device::default());
        assert_eq!(epoch(&*moved).concat(), expected(7, 4)[4..]);
        assert_eq!(epoch(&parent).concat(), expected(7, 4)[4..]);
        assert_eq!(epoch(&*moved).concat(), expected(7, 5));
    }

    #[test]
    fn slices_share_out_each_epoch() {
        let parent = loader().shuffled(7);
        let slices = [parent.slice(0, 5), parent.slice(5, 11)];
        for number in 0..2 {
            let halves = slices.each_ref().map(|slice| epoch(&**slice).concat());
            assert_eq!(halves.concat(), expected(7, number));
        }
        let inner = slices[1].slice(2, 99);
        assert_eq!(inner.num_items(), 4);
        assert_eq!(epoch(&*inner).concat(), expected(7, 2)[7..]);
    }

    #[test]
    fn a_slice_of_a_resumed_loader_leaves_out_its_own_batches() {
        let slice = loader().shuffled(7).resume_at(0, 1).slice(5, 11);
        assert_eq!(epoch(&*slice).concat(), expected(7, 0)[9..]);
    }
}
