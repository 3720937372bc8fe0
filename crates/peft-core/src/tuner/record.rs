//! What survives a run: the adapter's file, and the record it goes on from.

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::Tuner;
use crate::dense;
use crate::method::Method;
use crate::store::AdapterFile;
use crate::{Error, Params, Record};

#[derive(Serialize, Deserialize)]
struct Meta {
    dense: Vec<(String, u64)>,
    steps: usize,
}

impl<T: Method> Tuner<T> {
    /// What training changed so far, as a file others read. `None` where that is whole weights: in
    /// full fine-tuning, and for LoSiA with `modules_to_save`, which its file has no place for.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one; [`Error::NotAllocated`] and
    /// [`Error::UndecidedRanks`] before AdaLoRA's last cut.
    pub fn export<M: Module>(&self, model: &M) -> Result<Option<AdapterFile>, Error> {
        let dense = !self.config.modules_to_save.is_empty();
        Ok(match self.method.export(self.steps, &Params::of(model))? {
            Some(AdapterFile::Peft(mut files)) if dense => {
                self.saved.add_to(model, &mut files)?;
                Some(AdapterFile::Peft(files))
            }
            Some(AdapterFile::Losia(_)) if dense => None,
            file => file,
        })
    }

    /// Everything that must survive a restart: the method's state, its adapters, and the densely
    /// trained parameters. The state of their optimizer is not part of it.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if `model` is not the attached one.
    pub fn record<M: Module>(&self, model: &M) -> Result<Record, Error> {
        let mut record = self.method.record(&Params::of(model))?;
        let dense = dense::record(model, &self.dense, &self.masters, &mut record)?;
        record.describe(&Meta { dense, steps: self.steps })?;
        Ok(record)
    }

    /// Restores a record on a freshly attached model. Densely trained parameters get the
    /// identities they had, so that the record of their optimizer fits.
    ///
    /// # Errors
    /// [`Error::Record`] if the record does not fit the configuration or the model, or if
    /// [`attach`](Self::attach) decomposed the weights otherwise than the record's run did (PiSSA):
    /// [`resume`](Self::resume) does not decompose them again.
    pub fn restore<M: Module>(&mut self, model: M, record: &Record) -> Result<M, Error> {
        let meta: Meta = record.description()?;
        let plan = self.method.restore(meta.steps, record, &Params::of(&model))?;
        let (model, _) = plan.apply(model)?;
        self.steps = meta.steps;
        dense::restore(model, &mut self.dense, &mut self.masters, record, &meta.dense)
    }
}
