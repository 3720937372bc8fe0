//! The optimizer of what trains densely.

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use peft_core::Catalogue;
use peft_llama::CausalLm;

use crate::Error;

/// AdamW with PyTorch's `eps`. Norms and biases, which are vectors, do not decay, as with Hugging Face's
/// Trainer: what they scale or shift has no reason to be small. They are known by their paths, which
/// a checkpoint keeps.
///
/// # Errors
/// [`Error::Method`] for a `model` with adapters.
pub(super) fn adamw(model: &CausalLm, weight_decay: f32) -> Result<ModuleOptimizer, Error> {
    let catalogue = Catalogue::of(model)?;
    let vectors = catalogue.params().iter().filter(|param| param.shape.len() < 2);
    let vectors = ParamGroup::from_paths(vectors.map(|param| param.path.clone()).collect());
    let adamw = |decay| AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(decay);
    Ok(adamw(weight_decay).init().with_group(vectors, adamw(0.0).build(), None))
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::optim::GradientsParams;
    use burn::tensor::Tensor;

    use super::*;
    use crate::plan::testing::tiny_model;

    /// Gradients of zero for a norm and for the output head.
    fn zeros(model: &CausalLm) -> GradientsParams {
        fn add<const D: usize>(grads: &mut GradientsParams, param: &Param<Tensor<D>>) {
            grads.register(param.id, param.val().inner().zeros_like());
        }
        let mut grads = GradientsParams::new();
        add(&mut grads, &model.model.norm.weight);
        add(&mut grads, &model.lm_head.as_ref().unwrap().weight);
        grads
    }

    fn values(model: &CausalLm) -> [Vec<f32>; 2] {
        let read = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect();
        let head = model.lm_head.as_ref().unwrap().weight.val();
        [read(model.model.norm.weight.val()), read(head.flatten(0, 1))]
    }

    /// Also where its state was written and read again.
    #[test]
    fn matrices_decay_and_vectors_do_not() {
        let model = tiny_model().0.train();
        let [norm, head] = values(&model);
        let mut optim = adamw(&model, 0.5).unwrap();
        let model = optim.step(0.1, model.clone(), zeros(&model));
        let bytes = optim.into_bytes().unwrap();
        let mut optim = adamw(&model, 0.5).unwrap().from_bytes(bytes).unwrap();
        let model = optim.step(0.1, model.clone(), zeros(&model));
        let [got_norm, got_head] = values(&model);
        assert_eq!(got_norm, norm);
        for (got, was) in got_head.into_iter().zip(head) {
            assert!((got - 0.95 * 0.95 * was).abs() <= 0.01 * was.abs(), "{got} from {was}");
        }
    }
}
