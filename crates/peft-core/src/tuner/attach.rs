//! What a method and `modules_to_save` take of a model, and how it gets there.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, Param, ParamId, Reparameterizer};
use burn::tensor::Tensor;

use super::TunerConfig;
use crate::adapter::Adapter;
use crate::dense::DenseParam;
use crate::error::check;
use crate::method::{Attachments, Method};
use crate::target::modules_to_save;
use crate::{Catalogue, Error, ParamInfo};

/// Parameters of an attached model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamCounts {
    /// Elements that training changes at any one time.
    pub trainable: usize,
    /// Elements of the model without adapters.
    pub total: usize,
}

/// What a run attaches to a model: the method's own, and `modules_to_save`.
pub(crate) fn attachments<T: Method + ?Sized>(
    method: &mut T,
    config: &TunerConfig,
    catalogue: &Catalogue,
) -> Result<Attachments, Error> {
    let mut attachments = method.attach(&catalogue.saving(&config.modules_to_save))?;
    let low_rank = low_rank_modules(&attachments, catalogue);
    for param in modules_to_save(&config.modules_to_save, catalogue)? {
        refuse_adapted(param, &attachments)?;
        refuse_beside_adapter(param, &low_rank)?;
        attachments.dense.push(param.id);
    }
    Ok(attachments)
}

pub(crate) fn counts(attachments: &Attachments, catalogue: &Catalogue) -> ParamCounts {
    ParamCounts { trainable: trainable(attachments, catalogue), total: catalogue.num_elements() }
}

/// The gradient of an adapted weight belongs to its adapter.
fn refuse_adapted(param: &ParamInfo, attachments: &Attachments) -> Result<(), Error> {
    let adapted = attachments.adapters.iter().any(|(id, _)| *id == param.id);
    check(!adapted, "modules_to_save", &param.path, "modules without an adapter")
}

/// Modules whose adapters are written as PEFT's.
fn low_rank_modules<'a>(attachments: &Attachments, catalogue: &'a Catalogue) -> Vec<&'a str> {
    let low_rank = attachments.adapters.iter().filter(|(_, adapter)| adapter.is_low_rank());
    let ids: HashSet<_> = low_rank.map(|(id, _)| id).collect();
    let adapted = catalogue.params().iter().filter(|param| ids.contains(&param.id));
    adapted.map(ParamInfo::module_path).collect()
}

/// PEFT takes whole modules for `modules_to_save`, and gives them and what is in them no adapter: it
/// would ignore that of a file.
fn refuse_beside_adapter(param: &ParamInfo, low_rank: &[&str]) -> Result<(), Error> {
    let module = format!(".{}.", param.module_path());
    match low_rank.iter().find(|path| format!(".{path}.").contains(&module)) {
        None => Ok(()),
        Some(path) => Err(Error::Setting {
            key: "modules_to_save",
            found: format!("{}, beside the adapter of `{path}`", param.path),
            expected: "modules without an adapter, as PEFT's files cannot hold both",
        }),
    }
}

pub(super) fn adapted_paths(attachments: &Attachments, catalogue: &Catalogue) -> Vec<String> {
    let ids: HashSet<_> = attachments.adapters.iter().map(|(id, _)| id).collect();
    let adapted = catalogue.params().iter().filter(|param| ids.contains(&param.id));
    adapted.map(|param| param.path.clone()).collect()
}

pub(super) fn dense_params(attachments: &Attachments, catalogue: &Catalogue) -> Vec<DenseParam> {
    let ids: HashSet<_> = attachments.dense.iter().collect();
    let dense = catalogue.params().iter().filter(|param| ids.contains(&param.id));
    dense.map(|param| DenseParam { id: param.id, path: param.path.clone() }).collect()
}

fn trainable(attachments: &Attachments, catalogue: &Catalogue) -> usize {
    let adapters: usize = attachments.adapters.iter().map(|(_, a)| a.num_params()).sum();
    let dense: HashSet<_> = attachments.dense.iter().collect();
    let dense = catalogue.params().iter().filter(|param| dense.contains(&param.id));
    adapters + dense.map(|param| param.num_elements()).sum::<usize>()
}

/// Freezes a model but for what trains, and attaches the adapters.
pub(super) struct Attacher {
    adapters: HashMap<ParamId, Adapter>,
    tracked: HashSet<ParamId>,
}

impl Attacher {
    pub fn new(attachments: Attachments) -> Self {
        Self {
            adapters: attachments.adapters.into_iter().collect(),
            tracked: attachments.tracked.into_iter().chain(attachments.dense).collect(),
        }
    }
}

impl Reparameterizer for Attacher {
    type Reparam = Adapter;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Adapter>) {
        let adapter = self.adapters.remove(&param.id);
        let tracked = self.tracked.contains(&param.id);
        // What tensor operations computed, such as a cast, is no leaf: detached, it becomes one.
        (param.map(Tensor::detach).set_require_grad(tracked), adapter)
    }
}
