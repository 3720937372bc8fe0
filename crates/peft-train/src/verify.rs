//! What a model says to a text: the proof that a trained model is one, and that the merged one is the same.

use burn::module::Module;
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};
use peft_core::multiplies_in_f32;
use peft_llama::CausalLm;

use crate::Error;

/// Tokens both models are asked about, at most.
const TOKENS: usize = 64;

/// What a model says after each of a few tokens, f32 `[1, tokens, vocab_size]`.
pub(crate) struct Answer(Tensor<3>);

impl Answer {
    /// To the beginning of a text.
    pub fn to(model: &CausalLm, text: &[u32]) -> Self {
        let model = model.valid();
        let ids: Vec<i64> = text.iter().take(TOKENS).map(|&id| i64::from(id)).collect();
        let ids = TensorData::new(ids.clone(), [1, ids.len()]);
        let device = model.model.embed_tokens.weight.base().device();
        let logits = model.forward(Tensor::<2, Int>::from_data(ids, &device), None);
        Self(logits.cast(FloatDType::F32))
    }

    /// Whether every logit is finite.
    ///
    /// # Errors
    /// [`Error::Device`] where the device fails.
    pub fn is_finite(&self) -> Result<bool, Error> {
        Ok(Error::scalar(self.0.clone().is_finite().all().float())? == 1.0)
    }

    /// Refuses a merged model that answers otherwise: beyond rounding, which is coarse for
    /// half-precision weights.
    ///
    /// # Errors
    /// [`Error::MergeMismatch`].
    pub fn check(&self, merged: &CausalLm, text: &[u32]) -> Result<(), Error> {
        let Self(want) = self;
        let scale = want.clone().abs().max();
        let difference = Self::to(merged, text).0.sub(want.clone()).abs().max().div(scale);
        let (difference, bound) = (Error::scalar(difference)?, bound(merged));
        match difference <= bound {
            true => Ok(()),
            false => Err(Error::MergeMismatch { difference, bound }), // NaN too
        }
    }
}

/// The share of the largest logit by which rounding may change one.
fn bound(model: &CausalLm) -> f32 {
    let weight = model.model.embed_tokens.weight.base();
    match weight.dtype() {
        DType::BF16 | DType::F16 => 0.1,
        _ if multiplies_in_f32(&weight.device()) => 1e-3,
        _ => 1e-2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::tiny_model;

    #[test]
    fn another_model_and_one_that_is_no_number_are_refused() {
        let (model, _) = tiny_model();
        let scaled = |factor: f32| {
            let mut model = model.clone();
            model.model.norm.weight = model.model.norm.weight.map(|w| w.mul_scalar(factor));
            model
        };
        let text = [1, 5, 9, 13];
        let answer = Answer::to(&model, &text);
        assert!(answer.is_finite().unwrap());
        assert!(!Answer::to(&scaled(f32::NAN), &text).is_finite().unwrap());
        answer.check(&scaled(1.0001), &text).unwrap();
        for (factor, difference) in [(1.1, "by 1.0e-1 of"), (f32::NAN, "by NaN of")] {
            let error = answer.check(&scaled(factor), &text).unwrap_err().to_string();
            assert!(error.contains(difference), "{error}");
        }
    }
}
