//! Parameters trained densely: found, recorded, restored.

mod masters;
mod saved;

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};

use crate::gradients::is_half;
use crate::host::is_finite;
use crate::plan::leaf_like;
use crate::{Error, Record, to_host};
pub(crate) use masters::Masters;
pub(crate) use saved::SavedModules;

/// A densely trained parameter.
#[derive(Debug, Clone)]
pub(crate) struct DenseParam {
    pub id: ParamId,
    pub path: String,
}

fn entry(path: &str) -> String {
    format!("dense.{path}")
}

/// Adds the parameters' values to `record`, those of `masters` in f32, and their identities, by which
/// an optimizer's state finds them again.
pub(crate) fn record<M: Module>(
    model: &M,
    params: &[DenseParam],
    masters: &Masters,
    record: &mut Record,
) -> Result<Vec<(String, u64)>, Error> {
    let mut collect = Collect { masters, read: HashMap::new() };
    model.visit(&mut collect);
    params
        .iter()
        .map(|DenseParam { id, path }| {
            let gone = || Error::ParameterGone { path: path.clone() };
            record.tensors.insert(entry(path), collect.read.remove(id).ok_or_else(gone)?());
            Ok((path.clone(), id.val()))
        })
        .collect()
}

/// Puts recorded values and identities into the parameters, and into `masters` what is kept in half
/// precision.
pub(crate) fn restore<M: Module>(
    model: M,
    params: &mut [DenseParam],
    masters: &mut Masters,
    record: &Record,
    identities: &[(String, u64)],
) -> Result<M, Error> {
    let mut restored = HashMap::new();
    for param in params {
        let missing = || Error::Record { entry: entry(&param.path), problem: "is missing".into() };
        let identity = identities.iter().find(|(path, _)| *path == param.path);
        let (_, id) = identity.ok_or_else(missing)?;
        let data = record.tensors.get(&entry(&param.path)).ok_or_else(missing)?;
        restored.insert(param.id, (ParamId::from(*id), param.path.clone(), data.clone()));
        param.id = ParamId::from(*id);
    }
    let mut put = Put { restored, masters, misshapen: None };
    let model = model.map(&mut put);
    put.misshapen.map_or(Ok(model), Err)
}

/// Refuses a model in which one of the parameters is not finite after `step`.
pub(crate) fn check_finite<M: Module>(
    model: &M,
    params: &[DenseParam],
    step: usize,
) -> Result<(), Error> {
    let mut check = Check { params, broken: None };
    model.visit(&mut check);
    match check.broken {
        Some(path) => Err(Error::NotFinite { path, step }),
        None => Ok(()),
    }
}

struct Check<'a> {
    params: &'a [DenseParam],
    broken: Option<String>,
}

impl ModuleVisitor for Check<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(dense) = self.params.iter().find(|dense| dense.id == param.id) else { return };
        if self.broken.is_none() && !is_finite(param.base().without_autodiff()) {
            self.broken = Some(dense.path.clone());
        }
    }
}

/// Reads a value back.
type Read = Box<dyn FnOnce() -> TensorData>;

/// Handles to the values, so that only those asked for are read back from the device.
struct Collect<'a> {
    /// Values that go before the model's.
    masters: &'a Masters,
    read: HashMap<ParamId, Read>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let master: Option<Tensor<D>> = self.masters.get(param.id);
        let value = master.unwrap_or_else(|| param.base().without_autodiff());
        self.read.insert(param.id, Box::new(move || to_host(value)));
    }
}

struct Put<'a> {
    restored: HashMap<ParamId, (ParamId, String, TensorData)>,
    masters: &'a mut Masters,
    misshapen: Option<Error>,
}

impl ModuleMapper for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((id, path, data)) = self.restored.remove(&param.id) else { return param };
        let (found, expected) = (data.shape().as_slice(), param.dims());
        if found != expected {
            let problem = format!("has shape {found:?}, expected {expected:?}");
            self.misshapen = Some(Error::Record { entry: entry(&path), problem });
            return param;
        }
        let tracked = param.is_require_grad();
        let mut param = param.map(|old| {
            let (device, dtype) = (old.device().inner(), old.dtype());
            if is_half(dtype) {
                self.masters.set::<D>(id, Tensor::from_data(data.clone(), (&device, DType::F32)));
            }
            leaf_like(&old, Tensor::from_data(data, (&device, dtype)))
        });
        param.id = id;
        param.set_require_grad(tracked)
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;

    use super::*;
    use crate::testing::{device, floats};

    fn layer() -> (burn::nn::Linear, Vec<DenseParam>) {
        let layer = LinearConfig::new(2, 3).init(&device().autodiff());
        let bias = layer.bias.as_ref().unwrap();
        bias.val(); // initialised, as every catalogued parameter is
        let dense = DenseParam { id: bias.id, path: "bias".into() };
        (layer, vec![dense])
    }

    #[test]
    fn value_identity_and_tracking_come_back() {
        let ((original, params), mut written) = (layer(), Record::default());
        let identities = record(&original, &params, &Masters::default(), &mut written).unwrap();
        assert_eq!(written.tensors.keys().collect::<Vec<_>>(), ["dense.bias"]);
        let (fresh, mut params) = layer();
        let restored =
            restore(fresh, &mut params, &mut Masters::default(), &written, &identities).unwrap();
        let (bias, want) = (restored.bias.unwrap(), original.bias.unwrap());
        assert_eq!((bias.id, params[0].id), (want.id, want.id));
        assert!(bias.is_require_grad());
        assert_eq!(floats(&bias.val().into_data()), floats(&want.val().into_data()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let ((original, params), mut written) = (layer(), Record::default());
        let stranger = [DenseParam { id: ParamId::new(), path: "gone".into() }];
        let error = record(&original, &stranger, &Masters::default(), &mut written).unwrap_err();
        assert_eq!(error, Error::ParameterGone { path: "gone".into() });

        let identities = record(&original, &params, &Masters::default(), &mut written).unwrap();
        let try_restore = |identities: &[_], written: &Record| {
            let (fresh, mut params) = layer();
            restore(fresh, &mut params, &mut Masters::default(), written, identities)
                .unwrap_err()
                .to_string()
        };
        let missing = "record entry `dense.bias`: is missing";
        assert_eq!(try_restore(&[], &written), missing);
        assert_eq!(try_restore(&identities, &Record::default()), missing);
        written.tensors.insert("dense.bias".into(), TensorData::from([1.0_f32]));
        let error = try_restore(&identities, &written);
        assert_eq!(error, "record entry `dense.bias`: has shape [1], expected [3]");
    }
}
