//! A model's weights and gradients as a checkpoint names and orders them.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use peft_core::{Place, VisitFloat, to_host, visit_floats};

/// Every effective weight of `model`, adapters folded in, by name, in PyTorch's `[out, in]`.
pub fn effective<M: Module>(model: &M) -> BTreeMap<String, TensorData> {
    collect(&model.valid().materialize(), None)
}

/// Every gradient in `grads`, by the name of its weight, in PyTorch's `[out, in]`.
pub fn gradients<M: Module>(model: &M, grads: &Gradients) -> BTreeMap<String, TensorData> {
    collect(model, Some(grads))
}

fn collect<M: Module>(model: &M, grads: Option<&Gradients>) -> BTreeMap<String, TensorData> {
    let mut collect = Collect { grads, found: BTreeMap::new() };
    visit_floats(model, &mut collect);
    collect.found
}

struct Collect<'a> {
    grads: Option<&'a Gradients>,
    found: BTreeMap<String, TensorData>,
}

impl VisitFloat for Collect<'_> {
    fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
        let value = match self.grads {
            Some(grads) => param.base().grad(grads),
            None => Some(param.base()),
        };
        let Some(value) = value else { return };
        let value = match D == 2 && place.container() == "Linear" {
            true => value.swap_dims(0, 1),
            false => value,
        };
        self.found.insert(place.path(), to_host(value));
    }
}
