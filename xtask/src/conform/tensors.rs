//! Recorded tensors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, DType, Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

use super::CaseError;

/// The tensors of one file, by name, and which of them were looked at.
#[derive(Default)]
pub struct Tensors {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
    seen: RefCell<BTreeSet<String>>,
}

impl Tensors {
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let file =
            SafeTensors::deserialize(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::I64 => DType::I64,
                other => return Err(format!("{}: `{name}` is {other:?}", path.display()).into()),
            };
            let bytes = Bytes::from_bytes_vec(view.data().to_vec());
            tensors.insert(name, TensorData::from_bytes(bytes, view.shape().to_vec(), dtype));
        }
        Ok(Self { path: path.into(), tensors, seen: RefCell::default() })
    }

    pub fn get(&self, name: &str) -> Result<&TensorData, CaseError> {
        let missing = || format!("{}: no tensor `{name}`", self.path.display()).into();
        self.find(name).ok_or_else(missing)
    }

    /// The tensor `name`, if it is recorded.
    pub fn find(&self, name: &str) -> Option<&TensorData> {
        let (name, data) = self.tensors.get_key_value(name)?;
        self.see(name);
        Some(data)
    }

    /// Tensors whose name begins with `prefix`, by the rest of the name.
    pub fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a TensorData)> {
        self.tensors.iter().filter_map(move |(name, data)| {
            let rest = name.strip_prefix(prefix)?;
            self.see(name);
            Some((rest, data))
        })
    }

    /// Tensors that nobody looked at.
    pub fn unseen(&self) -> Vec<String> {
        let seen = self.seen.borrow();
        self.tensors.keys().filter(|name| !seen.contains(*name)).cloned().collect()
    }

    fn see(&self, name: &str) {
        self.seen.borrow_mut().insert(name.into());
    }

    pub fn float<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Tensor<D>, CaseError> {
        Ok(Tensor::from_data(self.get(name)?.clone(), device))
    }

    pub fn ids(&self, name: &str, device: &Device) -> Result<Tensor<2, Int>, CaseError> {
        Ok(Tensor::from_data(self.get(name)?.clone(), device))
    }

    /// Indices, ascending.
    pub fn indices(&self, name: &str) -> Result<Vec<usize>, CaseError> {
        let mut indices: Vec<usize> =
            self.get(name)?.iter::<i64>().map(|index| index as usize).collect();
        indices.sort_unstable();
        Ok(indices)
    }
}

/// A matrix in PyTorch's `[out, in]` as Burn's `[in, out]`, or back.
pub fn transposed(data: &TensorData, device: &Device) -> Tensor<2> {
    Tensor::<2>::from_data(data.clone(), device).transpose()
}
