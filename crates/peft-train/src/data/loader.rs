//! The samples as Burn's data loader.

use std::{num::NonZeroUsize, ops::Range, sync::Arc};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    tensor::Device,
};

use super::{Batch, Sample, epoch_order, order::group_by_length, share::Share};

/// What one call of [`iter`](DataLoader::iter) yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The epoch whose order it has, from 0.
    pub epoch: u64,
    /// Its batches by their numbers in the epoch; those beyond the epoch's end do not count.
    pub batches: Range<usize>,
}

impl Part {
    /// All of an epoch.
    pub fn whole(epoch: u64) -> Self {
        Self { epoch, batches: 0..usize::MAX }
    }

    /// No batch.
    pub fn nothing() -> Self {
        Self { epoch: 0, batches: 0..0 }
    }
}

/// Batches of samples.
///
/// The Learner does not say which epoch it asks for, so every call of [`iter`](DataLoader::iter)
/// asks the function given to [`yielding`](Self::yielding), and the loader itself has no state. What
/// an epoch holds is a pure function of the seed and the epoch's number; the last batch of an epoch
/// may be smaller than the others.
///
/// A slice is a range of positions of each epoch's order, so the slices of an epoch together are
/// that epoch, whatever devices they run on. A loader that is [`dealt_to`](Self::dealt_to) several
/// devices is sliced otherwise.
#[derive(Clone)]
pub struct BatchLoader {
    samples: Arc<[Sample]>,
    positions: Range<usize>,
    share: Share,
    batch_size: NonZeroUsize,
    batches_per_step: NonZeroUsize,
    seed: Option<u64>,
    group_by_length: bool,
    part: Arc<dyn Fn() -> Part + Send + Sync>,
    device: Device,
}

impl BatchLoader {
    /// A loader that yields all `samples` in their own order, as validation wants it.
    pub fn new(samples: Vec<Sample>, batch_size: NonZeroUsize, device: Device) -> Self {
        Self {
            positions: 0..samples.len(),
            samples: samples.into(),
            share: Share::of_all(NonZeroUsize::MIN),
            batch_size,
            batches_per_step: NonZeroUsize::MIN,
            seed: None,
            group_by_length: false,
            part: Arc::new(|| Part::whole(0)),
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

    /// Yields what `part` says at each call of [`iter`](DataLoader::iter), where without it each
    /// yields all of epoch 0. A slice yields as many of its own batches, and the share of a device
    /// those of them that are its own.
    pub fn yielding(self, part: impl Fn() -> Part + Send + Sync + 'static) -> Self {
        Self { part: Arc::new(part), ..self }
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
        let Part { epoch, batches } = (self.part)();
        let next = self.share.after(batches.start);
        Box::new(Batches { loader: self, order: self.order(epoch), next, end: batches.end })
    }

    fn num_items(&self) -> usize {
        let batches = self.positions.len().div_ceil(self.batch_size.get());
        let own = (self.share.after(0)..batches).step_by(self.share.stride());
        own.map(|index| self.rows(index).len()).sum()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        if let Some(share) = self.share.part_at(start, self.positions.len()) {
            return Arc::new(Self { share, ..self.clone() });
        }
        let at =
            |offset: usize| self.positions.start.saturating_add(offset).min(self.positions.end);
        Arc::new(Self { positions: at(start)..at(end).max(at(start)), ..self.clone() })
    }
}

/// The batches of a [`Part`].
struct Batches<'a> {
    loader: &'a BatchLoader,
    /// That of the epoch.
    order: Vec<usize>,
    /// The next batch.
    next: usize,
    /// The first batch after the part.
    end: usize,
}

impl Batches<'_> {
    /// Targets of the optimizer step that batch `index` belongs to.
    fn step_targets(&self, index: usize) -> usize {
        let per_step = self.loader.batches_per_step.get();
        let rows = &self.order[self.loader.span(index / per_step * per_step, per_step)];
        rows.iter().map(|row| self.loader.samples[*row].target_tokens()).sum()
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        let rows = &self.order[self.loader.rows(index)];
        if rows.is_empty() || index >= self.end {
            return None;
        }
        let samples: Vec<_> = rows.iter().map(|row| &self.loader.samples[*row]).collect();
        self.next += self.loader.share.stride();
        let batch = Batch::collate(&samples, &self.loader.device);
        Some(Ok(Batch { index, step_targets: self.step_targets(index), ..batch }))
    }
}

impl DataLoaderIterator<Batch> for Batches<'_> {
    /// Samples of the epoch consumed, those before the part included.
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const SAMPLES: u32 = 11;

    /// Eleven samples of one token each, 100 to 110, in batches of four.
    fn loader() -> BatchLoader {
        let samples =
            (0..SAMPLES).map(|index| Sample::new(vec![100 + index], vec![i64::from(100 + index)]));
        let batch_size = NonZeroUsize::new(4).unwrap();
        BatchLoader::new(samples.collect(), batch_size, Device::default())
    }

    /// The batches of one `iter`, each as the first tokens of its rows.
    fn batches(loader: &dyn DataLoader<Batch>) -> Vec<Vec<i64>> {
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

    /// The batches of `epoch` from batch `first` on.
    fn from(epoch: u64, first: usize) -> impl Fn() -> Part {
        move || Part { batches: first..usize::MAX, ..Part::whole(epoch) }
    }

    #[test]
    fn without_a_seed_samples_are_in_order_and_the_last_batch_is_kept() {
        let loader = loader();
        let want = [vec![100, 101, 102, 103], vec![104, 105, 106, 107], vec![108, 109, 110]];
        assert_eq!(batches(&loader), want);
        assert_eq!(batches(&loader), want);
        assert_eq!(loader.num_items(), 11);
    }

    #[test]
    fn every_call_of_iter_asks_what_to_yield() {
        let calls = AtomicU64::new(0);
        let loader = loader()
            .shuffled(7)
            .yielding(move || Part::whole(calls.fetch_add(1, Ordering::Relaxed)));
        for number in 0..3 {
            assert_eq!(batches(&loader).concat(), expected(7, number));
        }
    }

    #[test]
    fn a_part_has_its_batches_of_the_epoch() {
        let of = |batches: Range<usize>| {
            let part = move || Part { epoch: 1, batches: batches.clone() };
            loader().shuffled(7).yielding(part)
        };
        let whole = expected(7, 1);
        for (range, want) in [
            (0..2, &whole[..8]),
            (1..2, &whole[4..8]),
            (2..5, &whole[8..]),
            (3..usize::MAX, &whole[..0]),
        ] {
            assert_eq!(batches(&of(range.clone())).concat(), want, "{range:?}");
        }
        assert!(batches(&loader().yielding(Part::nothing)).is_empty());
    }

    #[test]
    fn progress_counts_the_samples_of_the_epoch_before_the_part() {
        let part = loader().yielding(|| Part { epoch: 0, batches: 1..2 });
        let rest = loader().yielding(from(0, 1));
        for (loader, want) in [(part, &[4, 8][..]), (rest, &[4, 8, 11])] {
            let mut batches = loader.iter();
            let mut seen = vec![batches.progress().items_processed];
            while batches.next().is_some() {
                seen.push(batches.progress().items_processed);
            }
            assert_eq!(seen, want);
            assert_eq!(batches.progress().is_completed(), want.ends_with(&[11]));
        }
    }

    #[test]
    fn a_loader_moved_to_a_device_yields_the_same() {
        let loader = loader().shuffled(7).yielding(from(4, 1));
        let moved = loader.to_device(&Device::default());
        assert_eq!(batches(&*moved).concat(), expected(7, 4)[4..]);
        assert_eq!(batches(&*moved), batches(&loader));
    }

    #[test]
    fn slices_share_out_each_epoch() {
        for number in 0..2 {
            let whole = loader().shuffled(7).yielding(from(number, 0));
            let slices = [whole.slice(0, 5), whole.slice(5, 11)];
            let halves = slices.each_ref().map(|slice| batches(&**slice).concat());
            assert_eq!(halves.concat(), expected(7, number));
            let inner = slices[1].slice(2, 99);
            assert_eq!(inner.num_items(), 4);
            assert_eq!(batches(&*inner).concat(), expected(7, number)[7..]);
        }
    }

    #[test]
    fn a_slice_of_a_part_leaves_out_its_own_batches() {
        let slice = loader().shuffled(7).yielding(from(0, 1)).slice(5, 11);
        assert_eq!(batches(&*slice).concat(), expected(7, 0)[9..]);
    }
}
