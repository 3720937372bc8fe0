//! Several adapters on one base model.

use std::collections::BTreeMap;

use burn::module::Module;

use crate::adapter_file::attached;
use crate::store::AdapterFiles;
use crate::{Error, Tuner};

/// A base model and adapters for it, by name.
///
/// Modules are values whose clones share memory, so an adapted model costs its adapter alone.
/// Switching is choosing another one, disabling is choosing [`base`](Self::base), and unmerging is
/// dropping what [`merged`](Self::merged) returned.
pub struct Adapters<M> {
    base: M,
    adapted: BTreeMap<String, Adapted<M>>,
}

struct Adapted<M> {
    files: AdapterFiles,
    tuner: Tuner,
    model: M,
}

impl<M: Module> Adapters<M> {
    /// A base model without adapters.
    pub fn new(base: M) -> Self {
        Self { base, adapted: BTreeMap::new() }
    }

    /// The model without any adapter, untouched.
    pub fn base(&self) -> &M {
        &self.base
    }

    /// Names of the adapters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.adapted.keys().map(String::as_str)
    }

    /// Attaches an adapter to the base under `name`, in place of an earlier one.
    ///
    /// # Errors
    /// What the adapter's method refuses about it or the base.
    pub fn load(&mut self, name: impl Into<String>, files: AdapterFiles) -> Result<(), Error> {
        let (tuner, model) = attached(&files, self.base.clone())?;
        self.adapted.insert(name.into(), Adapted { files, tuner, model });
        Ok(())
    }

    /// The model with the adapter `name`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none of that name.
    pub fn get(&self, name: &str) -> Result<&M, Error> {
        Ok(&self.named(name)?.model)
    }

    /// The model with the adapter `name` folded into the weights. The base stays as it is.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], [`Error::NotFinite`], [`Error::NotAllocated`].
    pub fn merged(&self, name: &str) -> Result<M, Error> {
        let Adapted { tuner, model, .. } = self.named(name)?;
        tuner.merge(model.clone())
    }

    /// Adds, under `name`, the weighted sum of LoRA adapters: see [`AdapterFiles::weighted`].
    ///
    /// # Errors
    /// [`Error::NoAdapter`], and what [`AdapterFiles::weighted`] refuses.
    pub fn combine(&mut self, name: &str, weights: &[(&str, f64)]) -> Result<(), Error> {
        let parts = weights.iter().map(|(name, weight)| Ok((&self.named(name)?.files, *weight)));
        let sum = AdapterFiles::weighted(&parts.collect::<Result<Vec<_>, Error>>()?)?;
        self.load(name, sum)
    }

    fn named(&self, name: &str) -> Result<&Adapted<M>, Error> {
        self.adapted.get(name).ok_or_else(|| Error::NoAdapter {
            name: name.into(),
            available: self.names().map(str::to_string).collect(),
        })
    }
}
