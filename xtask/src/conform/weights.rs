//! A model's weights as a checkpoint names and orders them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

/// Every effective weight of `model`, adapters folded in, by name, in PyTorch's `[out, in]`.
pub fn effective<M: Module>(model: &M) -> BTreeMap<String, TensorData> {
    let mut collect = Collect::default();
    model.valid().materialize().visit(&mut collect);
    collect.values
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    containers: Vec<String>,
    values: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_linear = self.containers.last().is_some_and(|c| c == "Struct:Linear");
        let value = match is_linear && D == 2 {
            true => param.val().swap_dims(0, 1),
            false => param.val(),
        };
        self.values.insert(self.path.join("."), value.into_data());
    }
}
