//! The batches of one optimizer step.

use std::collections::BTreeMap;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{FloatDType, Tensor};
use peft_llama::CausalLm;

use crate::Error;
use crate::data::Batch;

/// The batches of one optimizer step. Devices may finish them in any order: what is summed up is
/// summed up in the order of the batches, so that the result does not depend on it.
#[derive(Default)]
pub(super) struct Window {
    /// Tokens the loss was taken over.
    pub targets: usize,
    /// Real tokens.
    pub tokens: usize,
    /// Summed losses, each `[1]`, by the batch's number in its epoch.
    losses: BTreeMap<usize, Tensor<1>>,
    gradients: GradientsAccumulator<CausalLm>,
    /// Batches whose gradients are in the sum.
    summed: usize,
    /// Gradients of batches before which another one is still missing, by the batch's place in the
    /// step.
    early: BTreeMap<usize, GradientsParams>,
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
    /// Counts a batch in, with the sum `[1]` of its losses.
    pub fn push(&mut self, batch: &Batch, loss_sum: Tensor<1>) {
        self.targets += batch.target_tokens;
        self.tokens += batch.tokens;
        self.losses.insert(batch.index, loss_sum);
    }

    /// Adds the gradients of the batch at `place` in the step, from 0, to those of the batches before
    /// it, or keeps them until these are there.
    pub fn add(&mut self, model: &CausalLm, place: usize, grads: GradientsParams) {
        self.early.insert(place, grads);
        while let Some(grads) = self.early.remove(&self.summed) {
            self.gradients.accumulate(model, grads);
            self.summed += 1;
        }
    }

    /// The sum of the gradients.
    pub fn take_gradients(&mut self) -> GradientsParams {
        self.gradients.grads()
    }

    /// Reads losses and `grad_norm`, the norm `[1]` of the gradients, back from the device, in one
    /// transfer. A step must be judged before it is taken, so this waits for the
    /// backward pass; the Learner's loss metric reads the same losses a batch or two later anyway.
    pub fn measure(&self, grad_norm: Option<Tensor<1>>) -> Result<Measured, Error> {
        let tensors = grad_norm.into_iter().chain(self.losses.values().cloned());
        let values = read(tensors.collect())?;
        let (norm, losses) = values.split_at(values.len() - self.losses.len());
        Ok(Measured {
            loss: losses.iter().sum::<f32>() / self.targets.max(1) as f32,
            grad_norm: norm.iter().sum(),
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
    use peft_llama::Checkpoint;
    use std::path::Path;

    fn window(losses: [f32; 2]) -> Window {
        let device = peft_testing::device();
        let samples = [vec![1, 2, 3], vec![1, 2, 3, 4, 5]].map(|ids: Vec<u32>| {
            let labels = ids.iter().map(|&id| i64::from(id)).collect();
            Sample::new(ids, labels)
        });
        let mut window = Window::default();
        for (index, (sample, loss)) in samples.iter().zip(losses).enumerate() {
            let batch = Batch { index, ..Batch::collate(&[sample], &device) };
            window.push(&batch, Tensor::from_data([loss], &device));
        }
        window
    }

    #[test]
    fn losses_and_norm_are_those_of_the_mean_over_targets() {
        let window = window([3.0, 9.0]);
        assert_eq!((window.targets, window.tokens), (6, 8));
        let norm = Tensor::from_data([2.0], &peft_testing::device());
        let measured = window.measure(Some(norm)).unwrap();
        assert_eq!((measured.loss, measured.grad_norm), (2.0, 2.0));
        assert!(measured.is_finite() && window.measure(None).unwrap().is_finite());
    }

    /// In another order, f32 would give 1: beside 1e8 it is rounded away.
    #[test]
    fn gradients_are_summed_in_the_order_of_the_batches() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-llama");
        let checkpoint = Checkpoint::open(dir).unwrap();
        let model = checkpoint.load(&peft_testing::device(), None, |_| ()).unwrap().0;
        let id = model.model.norm.weight.id;
        for places in [[0, 1, 2], [2, 0, 1], [2, 1, 0], [0, 2, 1]] {
            let mut window = Window::default();
            for place in places {
                let mut grads = GradientsParams::new();
                let value: f32 = [1e8, 1.0, -1e8][place];
                grads.register(id, Tensor::<1>::from_data([value], &peft_testing::device()));
                window.add(&model, place, grads);
            }
            let sum = window.take_gradients().remove::<1>(id).unwrap();
            assert_eq!(sum.into_scalar::<f32>(), 0.0, "{places:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_noticed() {
        let norm = |norm: f32| Some(Tensor::from_data([norm], &peft_testing::device()));
        assert!(!window([f32::NAN, 1.0]).measure(norm(1.0)).unwrap().is_finite());
        assert!(!window([f32::INFINITY, f32::NEG_INFINITY]).measure(None).unwrap().is_finite());
        assert!(!window([1.0, 1.0]).measure(norm(f32::INFINITY)).unwrap().is_finite());
    }
}
