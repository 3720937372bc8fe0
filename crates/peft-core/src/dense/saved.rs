//! What is trained densely beside an adapter, as PEFT's files hold it.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use super::DenseParam;
use crate::store::AdapterFiles;
use crate::target::{OUTPUT_HEAD, tied_embedding};
use crate::{Catalogue, Error, ParamInfo, Place, VisitFloat, to_host, visit_floats};

/// Modules that have a densely trained parameter. PEFT stores modules, so all their parameters go
/// into its file, those that were not trained too.
#[derive(Debug, Default)]
pub(crate) struct SavedModules {
    /// Paths of the modules.
    modules: BTreeSet<String>,
    /// Paths of their parameters.
    params: BTreeSet<String>,
    /// Path of an embedding among them whose weight is the output head's too.
    tied: Option<String>,
}

impl SavedModules {
    pub fn of(dense: &[DenseParam], catalogue: &Catalogue) -> Self {
        let modules: BTreeSet<String> = dense.iter().map(|param| owner(&param.path)).collect();
        let params = catalogue.params().iter().map(|param| &param.path);
        let saved = params.filter(|path| modules.iter().any(|module| is_in(path, module)));
        let tied = tied_embedding(catalogue).filter(|p| modules.contains(p.module_path()));
        Self { params: saved.cloned().collect(), modules, tied: tied.map(|p| p.path.clone()) }
    }

    /// Adds the modules to `files`, with the values they have in `model`. What is there already and
    /// was not trained stays. A trained embedding that is the output head too is stored as both, which
    /// PEFT then ties.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` lacks a parameter.
    pub fn add_to<M: Module>(&self, model: &M, files: &mut AdapterFiles) -> Result<(), Error> {
        let mut values = self.values(model)?;
        let mut names = self.modules.clone();
        if let Some(embedding) = self.tied.as_ref().and_then(|path| values.get(path)) {
            values.insert(format!("{OUTPUT_HEAD}.weight"), embedding.clone());
            names.insert(OUTPUT_HEAD.into());
            files.config.extra.insert("ensure_weight_tying".into(), true.into());
        }
        files.other.extend(values);
        names.extend(files.config.modules_to_save.take().unwrap_or_default());
        files.config.modules_to_save = Some(names.into_iter().collect());
        Ok(())
    }

    /// The parameters' values by path, as checkpoints store them.
    fn values<M: Module>(&self, model: &M) -> Result<BTreeMap<String, TensorData>, Error> {
        let mut read = Read { params: &self.params, values: BTreeMap::new() };
        visit_floats(model, &mut read);
        match self.params.iter().find(|path| !read.values.contains_key(*path)) {
            Some(path) => Err(Error::ParameterGone { path: path.clone() }),
            None => Ok(read.values),
        }
    }
}

/// Path of the module that owns a parameter; of one without, the parameter's own.
fn owner(path: &str) -> String {
    path.rsplit_once('.').map_or(path, |(module, _)| module).into()
}

fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

struct Read<'a> {
    params: &'a BTreeSet<String>,
    values: BTreeMap<String, TensorData>,
}

impl VisitFloat for Read<'_> {
    fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
        let path = place.path();
        if !self.params.contains(&path) {
            return;
        }
        let value = param.base().without_autodiff();
        let value = match ParamInfo::is_linear_matrix(place.container(), D) {
            true => to_host(value.swap_dims(0, 1)),
            false => to_host(value),
        };
        self.values.insert(path, value);
    }
}
