//! What a checkpoint holds, and whether it is in order, without building the model.

use std::path::Path;

use burn::store::bridge;
use burn::tensor::{DType, Device};

use super::{Checkpoint, Progress, fit};
use crate::Error;

/// A tensor of a checkpoint, as its file's header describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorHeader<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape in the file: `[out, in]` for a linear weight.
    pub shape: &'a [usize],
    /// Its type in the file.
    pub dtype: DType,
    /// The file that holds it.
    pub file: &'a Path,
}

impl TensorHeader<'_> {
    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Checkpoint {
    /// The tensors of all files, by name.
    pub fn tensors(&self) -> impl Iterator<Item = TensorHeader<'_>> {
        self.tensors.iter().map(|(name, stored)| TensorHeader {
            name,
            shape: stored.tensor.shape.as_slice(),
            dtype: stored.tensor.dtype,
            file: &stored.file,
        })
    }

    /// Checks that the tensors are those `config.json` calls for, by name, shape and type, without
    /// reading them. Returns the names of harmless extras. The device is asked for nothing.
    ///
    /// # Errors
    /// [`Error::MissingTensors`], [`Error::UnexpectedTensors`], [`Error::TensorShape`] and
    /// [`Error::TensorType`].
    pub fn check(&self, device: &Device) -> Result<Vec<String>, Error> {
        fit::check(&self.tensors, &fit::shapes(&self.config, device), &self.dir)
    }

    /// Reads every tensor and checks that its values are finite, with `progress` called after each.
    ///
    /// # Errors
    /// [`Error::TensorRead`] and [`Error::NotFinite`], with the tensor named.
    pub fn verify(&self, mut progress: impl FnMut(Progress<'_>)) -> Result<(), Error> {
        let bytes = |tensor: &burn::store::burn_pack::Tensor| tensor.byte_len() as u64;
        let bytes_total = self.tensors.values().map(|stored| bytes(&stored.tensor)).sum();
        let mut bytes_done = 0;
        for (index, (name, stored)) in self.tensors.iter().enumerate() {
            let data = bridge::to_data(&stored.tensor).map_err(|e| Error::TensorRead {
                path: stored.file.clone(),
                reason: format!("`{name}`: {e}"),
            })?;
            let bad = data.iter::<f32>().enumerate().find(|(_, value)| !value.is_finite());
            if let Some((index, value)) = bad {
                let (path, name) = (stored.file.clone(), name.clone());
                return Err(Error::NotFinite { path, name, index, value });
            }
            bytes_done += bytes(&stored.tensor);
            progress(Progress {
                tensor: name,
                tensors_done: index + 1,
                tensors_total: self.tensors.len(),
                bytes_done,
                bytes_total,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::saved;
    use super::*;
    use crate::CausalLm;
    use crate::config::fixtures::{tiny, tiny_with};
    use burn::module::Param;
    use burn::tensor::Tensor;
    use peft_testing::device;
    use serde_json::json;

    #[test]
    fn headers_are_those_of_the_files() {
        let dir = saved(&tiny().init(&device()), &tiny());
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensors().count(), 21);
        let head = checkpoint.tensors().find(|tensor| tensor.name == "lm_head.weight").unwrap();
        assert_eq!((head.shape, head.dtype, head.num_elements()), (&[19, 16][..], DType::F32, 304));
        assert_eq!(head.file, dir.path().join("model.safetensors"));
        assert!(checkpoint.check(&device()).unwrap().is_empty());
    }

    #[test]
    fn a_checkpoint_of_another_configuration_is_refused_unread() {
        let dir = saved(&tiny().init(&device()), &tiny());
        let other = tiny_with(json!({"intermediate_size": 24}));
        let json = other.to_json(DType::F32).to_string();
        std::fs::write(dir.path().join("config.json"), json).unwrap();
        let error = Checkpoint::open(dir.path()).unwrap().check(&device()).unwrap_err();
        assert!(matches!(error, Error::TensorShape { .. }), "{error}");
    }

    #[test]
    fn every_value_is_read() {
        let model = tiny().init(&device());
        let mut done = Vec::new();
        let mut verify = |model: &CausalLm| {
            let dir = saved(model, &tiny());
            Checkpoint::open(dir.path()).unwrap().verify(|p| done.push(p.tensors_done))
        };
        verify(&model).unwrap();
        let mut broken = model;
        let norm = Tensor::<1>::ones([16], &device()).slice_fill(5..6, f32::NAN);
        broken.model.norm.weight = Param::from_tensor(norm);
        let error = verify(&broken).unwrap_err().to_string();
        assert!(error.ends_with("`model.norm.weight` is not finite: element 5 is NaN"), "{error}");
        assert_eq!(done.len(), 2 * 21 - 1, "the norm is the last one, by name");
    }
}
