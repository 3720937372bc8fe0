//! Validation losses.

use burn::tensor::Tensor;

use super::identity::hash_samples;
use super::window::read;
use crate::Error;
use crate::data::{Batch, Sample};

/// Sums up one validation after the other.
pub(super) struct Validation {
    /// Samples of a whole one.
    samples: usize,
    /// By which these samples are known.
    pub sha256: String,
    seen: Seen,
}

/// What was seen of a validation.
#[derive(Default)]
struct Seen {
    samples: usize,
    targets: usize,
    losses: Vec<Tensor<1>>,
}

impl Validation {
    pub fn on(samples: &[Sample]) -> Self {
        Self { samples: samples.len(), sha256: hash_samples(samples), seen: Seen::default() }
    }

    /// Whether there is anything to validate on.
    pub fn is_wanted(&self) -> bool {
        self.samples > 0
    }

    /// Counts a batch in, with the sum `[1]` of its losses. Returns the mean loss per target token
    /// after the last one. One that was interrupted has none.
    pub fn push(&mut self, batch: &Batch, loss_sum: Tensor<1>) -> Result<Option<f64>, Error> {
        self.seen.samples += batch.input_ids.dims()[0];
        self.seen.targets += batch.target_tokens;
        self.seen.losses.push(loss_sum);
        if self.seen.samples < self.samples {
            return Ok(None);
        }
        let done = std::mem::take(&mut self.seen);
        let sum: f64 = read(done.losses)?.into_iter().map(f64::from).sum();
        Ok(Some(sum / done.targets.max(1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_validation_has_a_mean_over_its_targets() {
        let device = peft_testing::device();
        let sample = Sample::new(vec![1, 2, 3], vec![1, 2, 3]);
        let batch = Batch::collate(&[&sample, &sample], &device); // four targets
        let samples = [(); 4].map(|()| sample.clone());
        let mut validation = Validation::on(&samples);
        let loss = |loss: f32| Tensor::from_data([loss], &device);
        for _ in 0..2 {
            assert_eq!(validation.push(&batch, loss(2.0)).unwrap(), None);
            assert_eq!(validation.push(&batch, loss(4.0)).unwrap(), Some(0.75));
        }
        assert!(validation.is_wanted() && !Validation::on(&[]).is_wanted());
    }
}
