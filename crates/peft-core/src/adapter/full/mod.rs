//! Full fine-tuning: parameters are trained densely. The baseline.

use burn::optim::GradientsParams;

use crate::method::{Attachments, Method};
use crate::schedule::DenseSchedule;
use crate::store::AdapterFile;
use crate::{Catalogue, Error, Params, Plan, Record, TargetModules, Targeting};

/// Trains parameters with the run's optimizer and attaches nothing.
#[derive(Debug, Clone)]
pub struct Full {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its shape over the run.
    pub schedule: DenseSchedule,
    /// The weights trained; `None`: every parameter of the model.
    pub target_modules: Option<TargetModules>,
}

impl Method for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn total_steps(&self) -> Option<usize> {
        Some(self.schedule.total_steps)
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error> {
        let trained = match &self.target_modules {
            Some(modules) => Targeting::of(modules).select(catalogue, None)?,
            None => catalogue.params().iter().collect(),
        };
        let dense = trained.into_iter().map(|param| param.id).collect();
        Ok(Attachments { dense, ..Attachments::default() })
    }

    fn update(&mut self, _: usize, _: &Params, _: &mut GradientsParams) -> Result<Plan, Error> {
        Ok(Plan::default())
    }

    fn learning_rate(&self, step: usize) -> f64 {
        self.learning_rate * self.schedule.multiplier(step)
    }

    fn settle(&self, _: usize, _: &Params) -> Result<Plan, Error> {
        Ok(Plan::default())
    }

    fn detach(&self, _: &Params) -> Result<Plan, Error> {
        Ok(Plan::default())
    }

    fn export(&self, _: usize, _: &Params) -> Result<Option<AdapterFile>, Error> {
        Ok(None)
    }

    fn record(&self, _: &Params) -> Result<Record, Error> {
        Ok(Record::default())
    }

    fn restore(&mut self, _: usize, _: &Record, _: &Params) -> Result<Plan, Error> {
        Ok(Plan::default())
    }
}
