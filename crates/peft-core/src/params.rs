//! Read access to a model's parameters.

use std::any::Any;
use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Int, Tensor};

use crate::Error;

/// The matrices and vectors of a model by identity: handles without autodiff, not copies.
///
/// Where an adapter is attached, a matrix is the stored base and the adapter's own parameters are
/// listed beside it.
#[derive(Debug, Default)]
pub struct Params {
    matrices: HashMap<ParamId, Tensor<2>>,
    vectors: HashMap<ParamId, Tensor<1>>,
    indices: HashMap<ParamId, Tensor<1, Int>>,
}

impl Params {
    /// Collects the parameters of `model` in one traversal.
    pub fn of<M: Module>(model: &M) -> Self {
        let mut params = Self::default();
        model.visit(&mut params);
        params
    }

    /// A float matrix; `None` if the model has no such parameter or it is no matrix.
    pub fn matrix(&self, id: ParamId) -> Option<Tensor<2>> {
        self.matrices.get(&id).cloned()
    }

    /// A float matrix that the weight at `path` depends on.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if the model has no such parameter or it is no matrix.
    pub fn require(&self, id: ParamId, path: &str) -> Result<Tensor<2>, Error> {
        self.matrix(id).ok_or_else(|| Error::ParameterGone { path: path.into() })
    }

    /// A float vector; `None` if the model has no such parameter or it is no vector.
    pub fn vector(&self, id: ParamId) -> Option<Tensor<1>> {
        self.vectors.get(&id).cloned()
    }

    /// A vector of integers; `None` if the model has no such parameter or it is no vector.
    pub fn indices(&self, id: ParamId) -> Option<Tensor<1, Int>> {
        self.indices.get(&id).cloned()
    }
}

impl ModuleVisitor for Params {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = || param.base().without_autodiff();
        match D {
            1 => self.vectors.extend(downcast(value()).map(|vector| (param.id, vector))),
            2 => self.matrices.extend(downcast(value()).map(|matrix| (param.id, matrix))),
            _ => {}
        }
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        if D == 1
            && let Some(indices) = downcast(param.val().without_autodiff())
        {
            self.indices.insert(param.id, indices);
        }
    }
}

/// The same value, if its type is the one asked for: how a generic rank becomes a known one.
fn downcast<T: Any>(value: impl Any) -> Option<T> {
    let value: Box<dyn Any> = Box::new(value);
    value.downcast().ok().map(|value| *value)
}
