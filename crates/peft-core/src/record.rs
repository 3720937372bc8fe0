//! State that survives a restart.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, to_host};

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
        self.tensors.insert(name, to_host(tensor));
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
        match data.shape().as_slice() {
            found if found == shape => Ok(Some(data.clone())),
            found => Err(Error::Record {
                entry: name.into(),
                problem: format!("has shape {found:?}, expected {shape:?}"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    #[test]
    fn tensors_are_checked_against_name_and_shape() {
        let mut record = Record::default();
        record.insert("a".into(), Tensor::<2>::ones([2, 3], &device()));
        assert_eq!(record.require("a", &[2, 3]).unwrap().num_elements(), 6);
        assert!(record.get("b", &[1]).unwrap().is_none());
        let error = record.require("b", &[1]).unwrap_err();
        assert_eq!(error.to_string(), "record entry `b`: is missing");
        for wrong in [&[3, 2][..], &[6], &[2, 3, 1]] {
            let error = record.get("a", wrong).unwrap_err().to_string();
            let problem = format!("has shape [2, 3], expected {wrong:?}");
            assert_eq!(error, format!("record entry `a`: {problem}"));
        }
    }

    #[test]
    fn descriptions_share_one_object() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        struct Steps {
            steps: usize,
        }
        let mut record = Record::default();
        let missing = record.description::<Steps>().unwrap_err().to_string();
        assert!(missing.contains("`meta`") && missing.contains("`steps`"), "{missing}");
        record.describe(&serde_json::json!({ "other": true })).unwrap();
        record.describe(&Steps { steps: 3 }).unwrap();
        assert_eq!(record.description::<Steps>().unwrap(), Steps { steps: 3 });
        assert_eq!(record.meta.len(), 2);
        let error = record.describe(&7).unwrap_err().to_string();
        assert_eq!(error, "record entry `meta`: 7 is no object");
    }
}
