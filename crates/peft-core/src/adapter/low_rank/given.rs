//! Adapters that start from a file.

use std::collections::BTreeMap;

use burn::module::ParamId;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::tied::tied_copy;
use crate::error::{check, no_param};
use crate::host::is_finite;
use crate::store::{AdaLoraFields, AdapterConfig, AdapterFiles, ModuleTensors, PeftType, misfit};
use crate::{Catalogue, Error, ParamInfo, Params, Plan, TargetModules, to_host};

/// What a file gives a method to start from.
#[derive(Debug, Default)]
pub struct Given {
    /// Its configuration.
    config: Option<AdapterConfig>,
    /// Adapters by module path.
    pub modules: BTreeMap<String, ModuleTensors>,
    /// Triplets of AdaLoRA that survive, by module path.
    pub rank_pattern: BTreeMap<String, Vec<bool>>,
    /// Parameters stored whole, by path.
    whole: BTreeMap<String, TensorData>,
    /// The same in the model that was attached last.
    placed: Vec<Placed>,
}

/// A parameter of a model that a file stores whole.
#[derive(Debug)]
struct Placed {
    id: ParamId,
    path: String,
    rank: usize,
    /// Its value in Burn's orientation, `[1, n]` for a vector.
    value: Tensor<2>,
}

impl Given {
    /// # Errors
    /// [`Error::StoredTensor`] for tensors that do not fit the configuration.
    pub fn new(adapter: &AdapterFiles) -> Result<Self, Error> {
        adapter.check()?;
        let rank_pattern = match &adapter.config.peft_type {
            PeftType::AdaLora(fields) => fields.rank_pattern.clone().unwrap_or_default(),
            PeftType::Lora(_) => BTreeMap::new(),
        };
        let (modules, whole) = (adapter.modules.clone(), adapter.other.clone());
        let config = Some(adapter.config.clone());
        Ok(Self { config, modules, rank_pattern, whole, placed: Vec::new() })
    }

    /// Whether there is a file.
    pub fn is_from_file(&self) -> bool {
        self.config.is_some()
    }

    /// The schedule that allocated the file's ranks, if they were.
    pub fn allocated(&self) -> Option<&AdaLoraFields> {
        match &self.config.as_ref()?.peft_type {
            PeftType::AdaLora(fields) => fields.rank_pattern.is_some().then_some(fields),
            PeftType::Lora(_) => None,
        }
    }

    /// The configuration to write: that of the file with the settings of `fresh` that the method
    /// decides. What the file says besides survives.
    pub fn config(&self, fresh: AdapterConfig) -> AdapterConfig {
        match self.config.clone() {
            None => fresh,
            Some(given) => AdapterConfig {
                peft_type: fresh.peft_type,
                lora_alpha: fresh.lora_alpha,
                lora_dropout: fresh.lora_dropout,
                ..given
            },
        }
    }

    /// The modules the file has adapters for, and no others: as names they would be ends of paths.
    pub fn target_modules(&self) -> TargetModules {
        let paths: Vec<String> = self.modules.keys().map(|path| regex::escape(path)).collect();
        TargetModules::Pattern(paths.join("|"))
    }

    /// Refuses a model that lacks a module or a parameter of the file, or trains an adapted one densely.
    pub fn place(&mut self, catalogue: &Catalogue) -> Result<(), Error> {
        for (path, tensors) in &self.modules {
            let mut linears = catalogue.params().iter().filter(|p| p.is_linear_weight());
            let param = linears.find(|p| p.module_path() == path);
            let param = param.ok_or_else(|| no_param("adapter", path, catalogue.params()))?;
            let key = "modules_to_save";
            check(!catalogue.saves(param), key, &param.path, "modules without an adapter")?;
            let found = tensors.features();
            if found != param.shape[..] {
                return Err(Error::Setting {
                    key: "adapter",
                    found: format!("for {found:?} features at `{path}` of {:?}", param.shape),
                    expected: "an adapter for this base model",
                });
            }
        }
        let tied = tied_copy(&self.whole, catalogue)?;
        let whole = self.whole.iter().filter(|(path, _)| Some(path.as_str()) != tied);
        let placed = whole.map(|(path, data)| self.placed(path, data, catalogue));
        self.placed = placed.collect::<Result<_, Error>>()?;
        Ok(())
    }

    fn placed(
        &self,
        path: &str,
        data: &TensorData,
        catalogue: &Catalogue,
    ) -> Result<Placed, Error> {
        let param = catalogue.params().iter().find(|param| param.path == path);
        let param = param.ok_or_else(|| no_param("modules_to_save", path, catalogue.params()))?;
        let value =
            oriented(data, param).map_err(|problem| misfit(&self.modules, path, problem))?;
        Ok(Placed { id: param.id, path: path.into(), rank: param.shape.len(), value })
    }

    /// The parameters stored whole, as the file had them.
    pub fn whole(&self) -> BTreeMap<String, TensorData> {
        self.whole.clone()
    }

    /// Refuses to say that the original weights are still there.
    ///
    /// # Errors
    /// [`Error::Irreversible`] if parameters were replaced by the file's.
    pub fn require_reversible(&self) -> Result<(), Error> {
        let reason = "the adapter's file replaced it";
        match self.whole.keys().next() {
            Some(path) => Err(Error::Irreversible { path: path.clone(), reason }),
            None => Ok(()),
        }
    }

    /// Plans the parameters stored whole.
    pub fn plan(&self, plan: &mut Plan) {
        for Placed { id, rank, value, .. } in &self.placed {
            match rank {
                1 => plan.set(*id, value.clone().squeeze_dim::<1>(0)),
                _ => plan.set(*id, value.clone()),
            }
        }
    }

    /// Refuses what came of the parameters stored whole if it is not finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first one.
    pub fn require_finite(&self, step: usize, params: &Params) -> Result<(), Error> {
        for Placed { id, path, .. } in &self.placed {
            let finite = match params.vector(*id) {
                Some(vector) => is_finite(vector),
                None => is_finite(params.require(*id, path)?),
            };
            if !finite {
                return Err(Error::NotFinite { path: path.clone(), step });
            }
        }
        Ok(())
    }
}

/// A stored parameter as the model has it, `[1, n]` for a vector, or what is wrong with it.
fn oriented(data: &TensorData, param: &ParamInfo) -> Result<Tensor<2>, String> {
    let stored: Vec<usize> = match param.is_linear_weight() {
        true => param.shape.iter().rev().copied().collect(),
        false => param.shape.clone(),
    };
    let found = data.shape().as_slice();
    if found != stored {
        return Err(format!("has shape {found:?}, expected {stored:?}"));
    }
    if stored.is_empty() || stored.len() > 2 {
        return Err(format!("has shape {found:?}, expected that of a vector or a matrix"));
    }
    let device = param.device.clone().inner();
    if let [n] = stored[..] {
        return Ok(Tensor::<1>::from_data(data.clone(), &device).reshape([1, n]));
    }
    let tensor = Tensor::<2>::from_data(data.clone(), &device);
    Ok(match param.is_linear_weight() {
        true => tensor.transpose(),
        false => tensor,
    })
}

/// A factor in PEFT's orientation as Burn's matrix, f32: `[a, b]` becomes `[b, a]`.
pub fn transposed(data: &TensorData, device: &Device) -> TensorData {
    let device = device.clone().inner();
    to_host(Tensor::<2>::from_data(data.clone(), (&device, DType::F32)).transpose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;

    #[test]
    fn what_is_stored_whole_is_a_vector_or_a_matrix_of_the_models_shape() {
        let catalogue = Catalogue::of(&Tiny::new()).unwrap();
        let problem = |of_model: &[usize], stored: &[usize]| {
            let known = catalogue.params()[0].clone(); // of an embedding, not transposed
            let param = ParamInfo { shape: of_model.to_vec(), ..known };
            oriented(&TensorData::ones::<f32, _>(stored.to_vec()), &param).err()
        };
        assert_eq!(problem(&[4, 6], &[4, 6]), None);
        assert_eq!(problem(&[4], &[4]), None);
        assert_eq!(problem(&[4], &[5]).unwrap(), "has shape [5], expected [4]");
        for shape in [&[2, 3, 4][..], &[]] {
            let unfit = problem(shape, shape).unwrap();
            assert_eq!(
                unfit,
                format!("has shape {shape:?}, expected that of a vector or a matrix")
            );
        }
    }
}
