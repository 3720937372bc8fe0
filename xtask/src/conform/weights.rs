//! A model's weights and gradients as a checkpoint names and orders them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};

/// Every effective weight of `model`, adapters folded in, by name, in PyTorch's `[out, in]`.
pub fn effective<M: Module>(model: &M) -> BTreeMap<String, TensorData> {
    collect(&model.valid().materialize(), None)
}

/// Every gradient in `grads`, by the name of its weight, in PyTorch's `[out, in]`.
pub fn gradients<M: Module>(model: &M, grads: &Gradients) -> BTreeMap<String, TensorData> {
    collect(model, Some(grads))
}

fn collect<M: Module>(model: &M, grads: Option<&Gradients>) -> BTreeMap<String, TensorData> {
    let mut collect = Collect { grads, path: vec![], containers: vec![], found: BTreeMap::new() };
    model.visit(&mut collect);
    collect.found
}

struct Collect<'a> {
    grads: Option<&'a Gradients>,
    path: Vec<String>,
    containers: Vec<String>,
    found: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = match self.grads {
            Some(grads) => param.val().grad(grads),
            None => Some(param.val()),
        };
        let Some(value) = value else { return };
        let is_linear = self.containers.last().is_some_and(|c| c == "Struct:Linear");
        let value = match is_linear && D == 2 {
            true => value.swap_dims(0, 1),
            false => value,
        };
        self.found.insert(self.path.join("."), value.into_data());
    }
}
