//! PEFT's names of adapter tensors, and where those tensors are in a model here.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};

use super::CaseError;

/// `base_model.model.<module>.<tensor>`.
pub struct TensorName<'a> {
    pub module: &'a str,
    /// Name of the field that holds the tensor in an adapter.
    pub field: &'static str,
}

const FIELDS: [(&str, &str); 6] = [
    (".lora_A.weight", "lora_a"),
    (".lora_B.weight", "lora_b"),
    (".lora_magnitude_vector", "magnitude"),
    (".lora_A", "lora_a"),
    (".lora_B", "lora_b"),
    (".lora_E", "lora_e"),
];

impl<'a> TensorName<'a> {
    pub fn parse(name: &'a str) -> Result<Self, CaseError> {
        let path = name.strip_prefix("base_model.model.").unwrap_or(name);
        let found = FIELDS.iter().find_map(|(end, field)| Some((path.strip_suffix(end)?, field)));
        let (module, field) = found.ok_or_else(|| format!("`{name}` is no adapter tensor"))?;
        Ok(Self { module, field })
    }

    /// The tensor among those of a model, by path.
    pub fn find<'t>(&self, tensors: &'t BTreeMap<String, TensorData>) -> Option<&'t TensorData> {
        let (start, end) = (format!("{}.weight.", self.module), format!(".{}", self.field));
        let is_it = |name: &str| name.starts_with(&start) && name.ends_with(&end);
        tensors.iter().find(|(name, _)| is_it(name)).map(|(_, data)| data)
    }

    /// Its key in a method's record.
    pub fn record_key(&self) -> String {
        format!("{}.weight.{}", self.module, self.field)
    }
}

/// A matrix of an adapter as PEFT stores it: transposed, a vector where that is what is wanted.
pub fn oriented(got: &TensorData, want: &TensorData) -> TensorData {
    let tensor = Tensor::<2>::from_data(got.clone(), &burn::tensor::Device::flex());
    match want.rank() {
        1 => tensor.squeeze_dim::<1>(0).into_data(),
        _ => tensor.transpose().into_data(),
    }
}
