//! Tensors of a record as a safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{BoolStore, Bytes, DType, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::Error;
use crate::run::fingerprint;

/// Types a record may hold, and what they are called in the file.
const DTYPES: [(DType, Dtype); 13] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U64, Dtype::U64),
    (DType::U32, Dtype::U32),
    (DType::U16, Dtype::U16),
    (DType::U8, Dtype::U8),
    (DType::Bool(BoolStore::Native), Dtype::BOOL),
];

/// Writes `tensors` to the file at `path`, name by name.
pub(super) fn write(path: &Path, tensors: &BTreeMap<String, TensorData>) -> Result<(), Error> {
    let views = tensors
        .iter()
        .map(|(name, data)| view(name, data).map_err(|reason| Error::checkpoint(path, reason)));
    let views = views.collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(|error| match error {
        SafeTensorError::IoError(source) => Error::write(path)(source),
        other => Error::checkpoint(path, other),
    })
}

fn view<'a>(name: &'a str, data: &'a TensorData) -> Result<(&'a str, TensorView<'a>), String> {
    let dtype = data.dtype();
    let stored = DTYPES.iter().find(|(known, _)| *known == dtype).map(|(_, stored)| *stored);
    let stored = stored.ok_or_else(|| format!("tensor `{name}` has type {dtype:?}"))?;
    let view = TensorView::new(stored, data.shape().to_vec(), data.as_bytes());
    Ok((name, view.map_err(|e| format!("tensor `{name}`: {e}"))?))
}

/// Names, shapes and types of the tensors in the file at `path`, of which nothing else is read.
pub(super) fn headers(path: &Path) -> Result<Vec<(String, Vec<usize>, DType)>, Error> {
    let (_, _, header) = fingerprint::open(path)?;
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let dtype = dtype_of(&name, info.dtype, path)?;
        Ok((name, info.shape.clone(), dtype))
    });
    let mut tensors = tensors.collect::<Result<Vec<_>, Error>>()?;
    tensors.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    Ok(tensors)
}

fn dtype_of(name: &str, stored: Dtype, path: &Path) -> Result<DType, Error> {
    let dtype = DTYPES.iter().find(|(_, known)| *known == stored).map(|(dtype, _)| *dtype);
    let reason = || format!("tensor `{name}` has type {stored:?}");
    dtype.ok_or_else(|| Error::checkpoint(path, reason()))
}

/// Reads the tensors of the file at `path`.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, TensorData>, Error> {
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::checkpoint(path, e))?;
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let dtype = dtype_of(&name, view.dtype(), path)?;
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        Ok((name, TensorData::from_bytes(bytes, view.shape().to_vec(), dtype)))
    });
    tensors.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{bf16, f16};

    #[test]
    fn every_type_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let tensors = BTreeMap::from([
            ("double".to_string(), TensorData::from([0.1_f64, -2.0])),
            ("single".to_string(), TensorData::from([[0.1_f32], [f32::MIN_POSITIVE]])),
            ("half".to_string(), TensorData::from([f16::from_f32(0.1)])),
            ("brain".to_string(), TensorData::from([bf16::from_f32(0.1)])),
            ("long".to_string(), TensorData::from([i64::MIN, 7])),
            ("int".to_string(), TensorData::from([i32::MAX])),
            ("bytes".to_string(), TensorData::from([1_u8, 2, 255])),
            ("bool".to_string(), TensorData::from([true, false])),
        ]);
        write(&path, &tensors).unwrap();
        assert_eq!(read(&path).unwrap(), tensors);
    }

    #[test]
    fn an_unknown_type_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let data = TensorData::from_bytes(
            Bytes::from_bytes_vec(vec![1, 0, 0, 0]),
            vec![1],
            DType::Bool(BoolStore::U32),
        );
        let error = write(&path, &BTreeMap::from([("mask".to_string(), data)])).unwrap_err();
        assert!(error.to_string().contains("tensor `mask` has type Bool"), "{error}");

        let view = TensorView::new(Dtype::F8_E5M2, vec![1], &[0]).unwrap();
        safetensors::serialize_to_file([("odd", view)], None, &path).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("state.safetensors: tensor `odd` has type"), "{error}");
    }
}
