//! f32 values of densely trained parameters that the model keeps in half precision.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::container::TensorContainer;
use burn::tensor::{DType, FloatDType, Tensor};

use crate::gradients::is_half;
use crate::plan::leaf_like;

/// The values an optimizer steps, which the model has rounded. An update of less than half the
/// distance to the next bf16 would be lost in it, and Adam's `eps` is 0 in f16.
#[derive(Debug, Default)]
pub(crate) struct Masters(TensorContainer<ParamId>);

impl Masters {
    /// The value of a parameter, without autodiff, if it is kept here.
    pub fn get<const D: usize>(&self, id: ParamId) -> Option<Tensor<D>> {
        self.0.get(&id)
    }

    /// Keeps the f32 value of a parameter.
    pub fn set<const D: usize>(&mut self, id: ParamId, value: Tensor<D>) {
        self.0.register(id, value);
    }

    /// Calls `step` with f32 values and gradients in place of the half-precision ones, and rounds the
    /// values it returns.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        mut grads: GradientsParams,
        step: impl FnOnce(M, GradientsParams) -> M,
    ) -> M {
        let mut exact =
            Exact { masters: &mut self.0, grads: &mut grads, rounded: HashMap::default() };
        let model = model.map(&mut exact);
        let rounded = exact.rounded;
        let model = step(model, grads);
        match rounded.is_empty() {
            true => model,
            false => model.map(&mut Round { masters: &mut self.0, rounded }),
        }
    }
}

/// Puts f32 values into the model.
struct Exact<'a> {
    masters: &'a mut TensorContainer<ParamId>,
    grads: &'a mut GradientsParams,
    /// What is to be rounded again, and to what.
    rounded: HashMap<ParamId, DType>,
}

impl ModuleMapper for Exact<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, dtype) = (param.id, param.base().dtype());
        if !is_half(dtype) {
            return param;
        }
        let Some(grad) = self.grads.remove::<D>(id) else { return param };
        self.grads.register(id, grad.cast(FloatDType::F32));
        self.rounded.insert(id, dtype);
        let master = self.masters.remove::<Tensor<D>>(&id);
        replace(param, |old| master.unwrap_or_else(|| old.cast(FloatDType::F32)))
    }
}

/// Takes f32 values out of the model again.
struct Round<'a> {
    masters: &'a mut TensorContainer<ParamId>,
    rounded: HashMap<ParamId, DType>,
}

impl ModuleMapper for Round<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(dtype) = self.rounded.remove(&id) else { return param };
        replace(param, |master| {
            self.masters.register(id, master.clone());
            master.cast(FloatDType::from(dtype))
        })
    }
}

/// A parameter with a new value, made from the old one without autodiff.
fn replace<const D: usize>(
    param: Param<Tensor<D>>,
    value: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    let tracked = param.is_require_grad();
    param
        .map(|old| leaf_like(&old, value(old.clone().without_autodiff())))
        .set_require_grad(tracked)
}
