//! State that survives a restart.

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;

/// Tensors by name, and a JSON object that describes them: what a run needs to go on exactly.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Tensors on the host.
    pub tensors: BTreeMap<String, TensorData>,
    /// Everything that is no tensor.
    pub meta: Map<String, Value>,
}

impl Record {
    /// Adds a float tensor.
    pub fn insert<const D: usize>(&mut self, name: String, tensor: Tensor<D>) {
        self.tensors.insert(name, tensor.into_data());
    }

    /// Adds an integer tensor, as i64.
    pub fn insert_int(&mut self, name: String, tensor: Tensor<1, Int>) {
        self.tensors.insert(name, tensor.into_data().convert::<i64>());
    }

    /// Adds the fields of `description` to the meta data.
    ///
    /// # Errors
    /// [`Error::Record`] if it is no JSON object.
    pub fn describe(&mut self, description: &impl Serialize) -> Result<(), Error> {
        match serde_json::to_value(description).map_err(bad_meta)? {
            Value::Object(fields) => self.meta.extend(fields),
            other => return Err(bad_meta(format!("{other} is no object"))),
        }
        Ok(())
    }

    /// Reads a description back from the meta data.
    ///
    /// # Errors
    /// [`Error::Record`] if a field is missing or of another type.
    pub fn description<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(Value::Object(self.meta.clone())).map_err(bad_meta)
    }

    /// The tensor of that name, if there is one, checked against the shape it must have.
    ///
    /// # Errors
    /// [`Error::Record`] if the shape differs.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Option<TensorData>, Error> {
        let Some(data) = self.tensors.get(name) else { return Ok(None) };
        match data.shape().as_slice() == shape {
            true => Ok(Some(data.clone())),
            false => Err(Error::Record {
                entry: name.into(),
                problem: format!("has shape {:?}, expected {shape:?}", data.shape()),
            }),
        }
    }

    /// The tensor of that name, checked against the shape it must have.
    ///
    /// # Errors
    /// [`Error::Record`] if it is missing or its shape differs.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<TensorData, Error> {
        self.get(name, shape)?
            .ok_or_else(|| Error::Record { entry: name.into(), problem: "is missing".into() })
    }
}

fn bad_meta(problem: impl ToString) -> Error {
    Error::Record { entry: "meta".into(), problem: problem.to_string() }
}
