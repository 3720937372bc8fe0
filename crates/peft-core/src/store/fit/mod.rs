//! Whether adapter tensors fit their configuration and each other.

mod adalora;
mod lora;

use std::fmt;
use std::path::Path;

use burn::tensor::TensorData;

use super::names::{Modules, full_name, refuse};
use super::{AdapterConfig, PeftType};
use crate::Error;

/// Checks all modules; errors name `path` as the file of the tensors.
pub(super) fn check(config: &AdapterConfig, modules: &Modules, path: &Path) -> Result<(), Error> {
    if modules.is_empty() {
        return Err(Error::File {
            path: path.into(),
            problem: "holds no adapter tensors".into(),
            hint: "train and save the adapter again",
        });
    }
    match &config.peft_type {
        PeftType::Lora(own) => lora::check(own, modules, path),
        PeftType::AdaLora(own) => adalora::check(own, modules, path),
    }
}

/// The module that errors name.
struct At<'a> {
    path: &'a Path,
    module: &'a str,
}

impl At<'_> {
    fn expect<const D: usize>(
        &self,
        end: &str,
        tensor: &TensorData,
        expected: [Dim; D],
    ) -> Result<(), Error> {
        let shape = tensor.shape().as_slice();
        let fits =
            shape.len() == D && shape.iter().zip(&expected).all(|(size, dim)| dim.fits(*size));
        match fits {
            true => Ok(()),
            false => Err(self.refuse(end, format!("has shape {shape:?}, expected {expected:?}"))),
        }
    }

    fn refuse(&self, end: &str, problem: impl Into<String>) -> Error {
        refuse(self.path, &full_name(self.module, end), problem)
    }
}

/// A size as it must be, or one that is the base weight's and not known here.
enum Dim {
    Is(usize),
    Free(&'static str),
}

impl Dim {
    fn fits(&self, size: usize) -> bool {
        match self {
            Self::Is(expected) => size == *expected,
            Self::Free(_) => size > 0,
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(size) => write!(f, "{size}"),
            Self::Free(name) => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::store::ModuleTensors;

    pub const PATH: &str = "layers.0.q_proj";

    /// What is said about the tensors of a module, after the file and the module.
    pub fn error(config: &AdapterConfig, tensors: ModuleTensors) -> String {
        let error = of(config, tensors).unwrap_err();
        assert!(error.hint().is_some());
        let start = format!("file: tensor `base_model.model.{PATH}.");
        error.to_string().strip_prefix(&start).expect("file and tensor are named").to_string()
    }

    /// Checks the tensors of one module.
    pub fn of(config: &AdapterConfig, tensors: ModuleTensors) -> Result<(), Error> {
        check(config, &[(PATH.to_string(), tensors)].into(), Path::new("file"))
    }
}
