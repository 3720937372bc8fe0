//! From a checkpoint to a model, one tensor at a time.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::store::{Applier, ApplyError, FloatCastAdapter};
use burn::tensor::{DType, Device, Tensor};

use super::{Checkpoint, fit};
use crate::config::is_weight_dtype;
use crate::{CausalLm, Error};

/// How far loading has come, told after each tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the tensor just loaded.
    pub tensor: &'a str,
    /// Tensors loaded so far.
    pub tensors_done: usize,
    /// Tensors to load.
    pub tensors_total: usize,
    /// Bytes read so far.
    pub bytes_done: u64,
    /// Bytes to read.
    pub bytes_total: u64,
}

/// What loading did beyond copying.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadReport {
    /// Type the weights have now.
    pub dtype: DType,
    /// Type they were meant to have; differs from `dtype` where the device does not compute in it.
    pub requested_dtype: DType,
    /// Number of tensors stored in another type than they have now.
    pub converted: usize,
    /// Harmless tensors of the checkpoint that the model has no place for.
    pub ignored: Vec<String>,
}

/// The type weights are loaded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadDType {
    /// Type the weights get.
    pub dtype: DType,
    /// Type they were meant to have; differs from `dtype` where the device does not compute in it.
    pub requested: DType,
}

impl Checkpoint {
    /// The type weights get when they are loaded on `device`: `dtype`, or that of `config.json`, or
    /// that of the stored embedding, or f32 where the device does not compute in it.
    ///
    /// # Errors
    /// [`Error::DType`] where `dtype` is none of f32, bf16 and f16.
    pub fn dtype_on(&self, device: &Device, dtype: Option<DType>) -> Result<LoadDType, Error> {
        let requested = requested(self, dtype)?;
        let dtype = if device.supports_dtype(requested) { requested } else { DType::F32 };
        Ok(LoadDType { dtype, requested })
    }
}

/// See [`Checkpoint::load`].
pub(super) fn load(
    checkpoint: &Checkpoint,
    device: &Device,
    dtype: Option<DType>,
    progress: impl FnMut(Progress<'_>),
) -> Result<(CausalLm, LoadReport), Error> {
    let LoadDType { dtype, requested } = checkpoint.dtype_on(device, dtype)?;
    let shapes = fit::shapes(&checkpoint.config, device);
    let ignored = fit::check(&checkpoint.tensors, &shapes, &checkpoint.dir)?;
    let tensors = || shapes.keys().map(|name| &checkpoint.tensors[name].tensor);
    let converted = tensors().filter(|tensor| tensor.dtype != dtype).count();

    let mut loading = Loading {
        sizes: tensors().map(|t| (t.name.clone(), t.byte_len() as u64)).collect(),
        applier: Applier::new(
            tensors().cloned().collect(),
            None,
            Some(Box::new(FloatCastAdapter::to(dtype))),
            false,
        ),
        path: Vec::new(),
        tensors_done: 0,
        bytes_done: 0,
        progress,
    };
    let model = checkpoint.config.init(device).map(&mut loading);
    match loading.applier.into_result().errors.first() {
        Some(error) => Err(unread(checkpoint, error)),
        None => Ok((model, LoadReport { dtype, requested_dtype: requested, converted, ignored })),
    }
}

/// A tensor that could not be read, and the file that should hold it.
fn unread(checkpoint: &Checkpoint, error: &ApplyError) -> Error {
    let (ApplyError::ShapeMismatch { path: tensor, .. }
    | ApplyError::DTypeMismatch { path: tensor, .. }
    | ApplyError::AdapterError { path: tensor, .. }
    | ApplyError::LoadError { path: tensor, .. }) = error;
    let file = checkpoint.tensors.get(tensor).map_or(&checkpoint.dir, |stored| &stored.file);
    Error::TensorRead { path: file.clone(), reason: error.to_string() }
}

/// The type asked for, or that of `config.json`, or that of the embedding.
fn requested(checkpoint: &Checkpoint, dtype: Option<DType>) -> Result<DType, Error> {
    if let Some(found) = dtype.filter(|dtype| !is_weight_dtype(*dtype)) {
        return Err(Error::DType { found });
    }
    let embedding = checkpoint.tensors.get("model.embed_tokens.weight");
    let stored = embedding.map(|stored| stored.tensor.dtype);
    let stored = stored.filter(|dtype| is_weight_dtype(*dtype));
    Ok(dtype.or(checkpoint.config.dtype).or(stored).unwrap_or(DType::F32))
}

/// Burn's [`Applier`], which reads a parameter when the traversal comes to it, told on after each.
struct Loading<F> {
    applier: Applier,
    sizes: HashMap<String, u64>,
    path: Vec<String>,
    tensors_done: usize,
    bytes_done: u64,
    progress: F,
}

impl<F: FnMut(Progress<'_>)> ModuleMapper for Loading<F> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.applier.enter_module(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.path.pop();
        self.applier.exit_module(name, container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let param = self.applier.map_float(param);
        let tensor = self.path.join(".");
        self.tensors_done += 1;
        self.bytes_done += self.sizes.get(&tensor).copied().unwrap_or(0);
        (self.progress)(Progress {
            tensor: &tensor,
            tensors_done: self.tensors_done,
            tensors_total: self.sizes.len(),
            bytes_done: self.bytes_done,
            bytes_total: self.sizes.values().sum(),
        });
        param
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fixtures, save};
    use super::*;
    use crate::DecoderConfig;
    use crate::config::fixtures::{tiny, tiny_gemma, tiny_gemma2, tiny_with};
    use burn::module::ModuleVisitor;
    use burn::store::bridge;
    use burn::store::burn_pack::{self, Tensor as Stored};
    use peft_testing::{device, device_with};
    use serde_json::json;
    use tempfile::TempDir;

    #[derive(Default)]
    struct Weights(Vec<(DType, Vec<f32>, bool)>);

    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().try_into_vec_as().unwrap();
            self.0.push((param.val().dtype(), values, param.is_require_grad()));
        }
    }

    fn weights(model: &CausalLm) -> Vec<(DType, Vec<f32>, bool)> {
        let mut weights = Weights::default();
        model.visit(&mut weights);
        weights.0
    }

    fn saved_as(config: &DecoderConfig, dtype: DType) -> (CausalLm, TempDir) {
        let (model, dir) = (config.init(&device()), TempDir::new().unwrap());
        save(&model, config, dir.path(), Some(dtype)).unwrap();
        (model, dir)
    }

    #[test]
    fn what_was_saved_is_loaded_bit_for_bit() {
        for config in [
            tiny(),
            tiny_with(json!({"tie_word_embeddings": true})),
            tiny_with(json!({"attention_bias": true, "mlp_bias": true, "head_dim": 6})),
            tiny_gemma(),
            tiny_gemma2(),
        ] {
            let model = config.init(&device());
            let dir = fixtures::saved(&model, &config);
            let (loaded, report) = fixtures::load(dir.path(), None).unwrap();
            assert_eq!(weights(&loaded), weights(&model));
            assert_eq!((report.dtype, report.converted), (DType::F32, 0));
        }
    }

    #[test]
    fn progress_counts_tensors_and_bytes() {
        let (_, dir) = saved_as(&tiny(), DType::F32);
        let mut seen = Vec::new();
        Checkpoint::open(dir.path())
            .unwrap()
            .load(&device(), None, |p| {
                seen.push((p.tensor.to_string(), p.tensors_done, p.bytes_done, p.bytes_total))
            })
            .unwrap();
        assert_eq!(seen.len(), 21);
        assert_eq!(seen[0], ("model.embed_tokens.weight".into(), 1, 19 * 16 * 4, seen[0].3));
        assert_eq!((seen[20].1, seen[20].2), (21, seen[20].3));
    }

    #[test]
    #[expect(deprecated, reason = "the one backend without half precision")]
    fn halves_are_widened_where_the_device_has_none_and_the_report_says_so() {
        let (_, dir) = saved_as(&tiny(), DType::BF16);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let (plain, report) = checkpoint.load(&Device::ndarray(), None, |_| ()).unwrap();
        assert_eq!((report.dtype, report.requested_dtype), (DType::F32, DType::BF16));
        assert_eq!(report.converted, 21);
        let (half, report) = checkpoint.load(&device_with(DType::BF16), None, |_| ()).unwrap();
        assert_eq!((report.dtype, report.requested_dtype), (DType::BF16, DType::BF16));
        let values =
            |model| weights(model).into_iter().map(|(_, values, _)| values).collect::<Vec<_>>();
        assert_eq!(values(&plain), values(&half));
    }

    #[test]
    fn the_type_asked_for_comes_before_that_of_the_checkpoint() {
        let (_, dir) = saved_as(&tiny(), DType::F16);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let device = device_with(dtype);
            let (model, report) = checkpoint.load(&device, Some(dtype), |_| ()).unwrap();
            assert_eq!(report.dtype, dtype);
            assert!(weights(&model).iter().all(|weight| weight.0 == dtype));
        }
        let error = checkpoint.load(&device(), Some(DType::I32), |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "`dtype` is I32, expected F32, BF16 or F16");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_file() {
        let (_, dir) = saved_as(&tiny(), DType::F32);
        let mut checkpoint = Checkpoint::open(dir.path()).unwrap();
        let stored = checkpoint.tensors.get_mut("model.norm.weight").unwrap();
        let Stored { name, dtype, shape, .. } = stored.tensor.clone();
        let gone = || Err(burn_pack::Error::IoError("the disk is gone".into()));
        stored.tensor = bridge::deferred(name, dtype, shape, None, gone);
        let error = checkpoint.load(&device(), None, |_| ()).unwrap_err();
        let Error::TensorRead { path, reason } = &error else { panic!("{error}") };
        assert_eq!(*path, dir.path().join("model.safetensors"));
        assert!(reason.contains("model.norm.weight") && reason.contains("the disk is gone"));
    }

    #[test]
    fn loaded_weights_are_trainable() {
        let (_, dir) = saved_as(&tiny(), DType::F32);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let (model, _) = checkpoint.load(&device().autodiff(), None, |_| ()).unwrap();
        assert!(weights(&model).iter().all(|weight| weight.2));
    }
}
