//! The batches of one optimizer step.

use burn::tensor::{FloatDType, Tensor};

use crate::Error;
use crate::data::Batch;

/// The batches of one optimizer step.
#[derive(Default)]
pub(super) struct Window {
    reference: f64,
    /// Tokens the loss was taken over.
    pub targets: usize,
    /// Real tokens.
    pub tokens: usize,
    /// Summed losses, each `[1]`.
    losses: Vec<Tensor<1>>,
}

/// What a step is judged by before it is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Mean loss per target token.
    pub loss: f32,
    /// Global norm of the raw gradients of that mean, before the method has looked at them.
    pub grad_norm: f32,
}

impl Measured {
    pub fn is_finite(self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

impl Window {
    /// Counts a batch in. Returns what its summed loss is divided by before the backward pass: the
    /// targets of the step's first batch. The remaining factor is [`scale`](Self::scale), which
    /// makes the accumulated gradients exactly those of the mean over all target tokens.
    pub fn push(&mut self, batch: &Batch, loss_sum: Tensor<1>) -> f64 {
        if self.losses.is_empty() {
            self.reference = batch.target_tokens.max(1) as f64;
        }
        self.targets += batch.target_tokens;
        self.tokens += batch.tokens;
        self.losses.push(loss_sum);
        self.reference
    }

    /// Batches so far.
    pub fn batches(&self) -> usize {
        self.losses.len()
    }

    /// What the accumulated gradients must be multiplied by.
    pub fn scale(&self) -> f64 {
        self.reference / self.targets.max(1) as f64
    }

    /// Reads losses and `grad_norm`, the norm `[1]` of the gradients before scaling, back from the
    /// device, in one transfer. A step must be judged before it is taken, so this waits for the
    /// backward pass; the Learner's loss metric reads the same losses a batch or two later anyway.
    pub fn measure(&self, grad_norm: Option<Tensor<1>>) -> Result<Measured, Error> {
        let tensors = grad_norm.into_iter().chain(self.losses.iter().cloned());
        let values = read(tensors.collect())?;
        let (norm, losses) = values.split_at(values.len() - self.losses.len());
        Ok(Measured {
            loss: losses.iter().sum::<f32>() / self.targets.max(1) as f32,
            grad_norm: norm.iter().sum::<f32>() * self.scale() as f32,
        })
    }
}

/// Reads scalars `[1]` back from their device, in one transfer.
pub(super) fn read(scalars: Vec<Tensor<1>>) -> Result<Vec<f32>, Error> {
    if scalars.is_empty() {
        return Ok(Vec::new());
    }
    let scalars = scalars.into_iter().map(|scalar| scalar.cast(FloatDType::F32)).collect();
    let data = Tensor::cat(scalars, 0).try_into_data();
    let data = data.map_err(|e| Error::Device { reason: e.to_string() })?;
    Ok(data.iter::<f32>().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sample;
    use burn::tensor::Device;

    fn window(losses: [f32; 2]) -> Window {
        let device = Device::default();
        let samples = [vec![1, 2, 3], vec![1, 2, 3, 4, 5]].map(|ids: Vec<u32>| {
            let labels = ids.iter().map(|&id| i64::from(id)).collect();
            Sample::new(ids, labels)
        });
        let mut window = Window::default();
        for (sample, loss) in samples.iter().zip(losses) {
            let batch = Batch::collate(&[sample], &device);
            assert_eq!(window.push(&batch, Tensor::from_data([loss], &device)), 2.0);
        }
        window
    }

    #[test]
    fn losses_and_norm_are_those_of_the_mean_over_targets() {
        let window = window([3.0, 9.0]);
        assert_eq!((window.targets, window.tokens, window.batches()), (6, 8, 2));
        let norm = Tensor::from_data([6.0], &Device::default());
        let measured = window.measure(Some(norm)).unwrap();
        assert_eq!((measured.loss, measured.grad_norm), (2.0, 2.0));
        assert!(measured.is_finite() && window.measure(None).unwrap().is_finite());
    }

    #[test]
    fn what_is_not_finite_is_noticed() {
        let norm = |norm: f32| Some(Tensor::from_data([norm], &Device::default()));
        assert!(!window([f32::NAN, 1.0]).measure(norm(1.0)).unwrap().is_finite());
        assert!(!window([f32::INFINITY, f32::NEG_INFINITY]).measure(None).unwrap().is_finite());
        assert!(!window([1.0, 1.0]).measure(norm(f32::INFINITY)).unwrap().is_finite());
    }
}
