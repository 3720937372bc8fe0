//! Several adapters on one base model.

use std::collections::BTreeMap;

use burn::module::Module;

use crate::Error;
use crate::store::{AdapterFile, AdapterFiles};

/// A base model and adapters for it, by name.
///
/// Modules are values whose clones share memory, so an adapted model costs its adapter alone; one of
/// LoSiA, whose blocks are added to weights, costs those weights. Switching is choosing another one,
/// disabling is choosing [`base`](Self::base), and unmerging is dropping what
/// [`merged`](Self::merged) returned.
pub struct Adapters<M> {
    base: M,
    adapted: BTreeMap<String, Adapted<M>>,
}

struct Adapted<M> {
    file: AdapterFile,
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
    pub fn load(
        &mut self,
        name: impl Into<String>,
        file: impl Into<AdapterFile>,
    ) -> Result<(), Error> {
        let file = file.into();
        let model = file.attach(self.base.clone())?;
        self.adapted.insert(name.into(), Adapted { file, model });
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
    /// [`Error::NoAdapter`], and those of [`AdapterFile::merge`].
    pub fn merged(&self, name: &str) -> Result<M, Error> {
        self.named(name)?.file.merge(self.base.clone())
    }

    /// Adds, under `name`, the weighted sum of LoRA adapters, concatenated: see
    /// [`AdapterFiles::weighted`].
    ///
    /// # Errors
    /// [`Error::NoAdapter`], and what [`AdapterFiles::weighted`] refuses, LoSiA's adapters too.
    pub fn combine(&mut self, name: &str, weights: &[(&str, f64)]) -> Result<(), Error> {
        let parts = weights.iter().map(|(name, weight)| match &self.named(name)?.file {
            AdapterFile::Peft(files) => Ok((&**files, *weight)),
            AdapterFile::Losia(_) => Err(Error::Setting {
                key: "adapters",
                found: format!("`{name}` of LoSiA"),
                expected: "LoRA adapters",
            }),
        });
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
