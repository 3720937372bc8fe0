//! What a fine-tuning method is.

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::Serialize;

use crate::adapter::Adapter;
use crate::adapter::adalora::Allocation;
use crate::adapter::losia::Relocalization;
use crate::store::AdapterFile;
use crate::{Catalogue, Error, Params, Plan, Record};

/// A fine-tuning method: what it attaches to a model, how it looks at gradients, what it changes.
///
/// A method never touches the model. It reads parameters through [`Params`] and returns a
/// [`Plan`], which [`Tuner`](crate::Tuner), the only caller, applies in one traversal. Every
/// decision is a function of the step, the gradients and the method's own state.
pub trait Method: Send {
    /// Name in configurations and reports, such as `losia-pro`.
    fn name(&self) -> &'static str;

    /// Steps of the run its schedules were made for, if there are such schedules.
    fn total_steps(&self) -> Option<usize> {
        None
    }

    /// Whether a run may end before its last step: not where something is decided at a certain one.
    fn may_end_early(&self) -> bool {
        true
    }

    /// Decides which parameters of the catalogued model get an adapter, and starts its state.
    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error>;

    /// Sets what depends on the weights' values, right after attachment, unless a record is
    /// restored instead.
    ///
    /// # Errors
    /// What the method refuses about those values.
    fn initialize(&mut self, _params: &Params) -> Result<Plan, Error> {
        Ok(Plan::default())
    }

    /// Looks at raw, unclipped gradients before the optimizer, takes out those that are for its
    /// eyes only, and adds that of its penalty term, if it has one, whose value `[1]` it returns.
    fn observe(
        &mut self,
        _step: usize,
        _params: &Params,
        _grads: &mut GradientsParams,
    ) -> Result<Option<Tensor<1>>, Error> {
        Ok(None)
    }

    /// Takes the (clipped) gradients of its own parameters and decides what changes at the end of
    /// `step`.
    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error>;

    /// Learning rate at `step`, for reports, and for densely trained parameters without a rate of
    /// their own. Of several: the highest of LoSiA's subnets, and that of A in LoRA+.
    fn learning_rate(&self, step: usize) -> f64;

    /// Folds the adapters into the base, after `step` steps.
    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error>;

    /// Takes all that training changed out again: the original weights, bit for bit, and adapters
    /// without effect.
    ///
    /// # Errors
    /// [`Error::Irreversible`] where the original bits are not kept.
    fn detach(&self, params: &Params) -> Result<Plan, Error>;

    /// What training changed after `step` steps, as a file others read. `None` where that is whole
    /// weights.
    ///
    /// # Errors
    /// [`Error::NotAllocated`] where what the file must say is not decided yet.
    fn export(&self, step: usize, params: &Params) -> Result<Option<AdapterFile>, Error>;

    /// Everything that must survive a restart, adapters included.
    fn record(&self, params: &Params) -> Result<Record, Error>;

    /// Restores what [`record`](Method::record) returned, after `step` steps, on a model to which
    /// this method was attached anew from the original weights, whether or not it was
    /// [initialised](Method::initialize).
    fn restore(&mut self, step: usize, record: &Record, params: &Params) -> Result<Plan, Error>;
}

impl<T: Method + ?Sized> Method for Box<T> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn total_steps(&self) -> Option<usize> {
        (**self).total_steps()
    }

    fn may_end_early(&self) -> bool {
        (**self).may_end_early()
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error> {
        (**self).attach(catalogue)
    }

    fn initialize(&mut self, params: &Params) -> Result<Plan, Error> {
        (**self).initialize(params)
    }

    fn observe(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Option<Tensor<1>>, Error> {
        (**self).observe(step, params, grads)
    }

    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error> {
        (**self).update(step, params, grads)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        (**self).learning_rate(step)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error> {
        (**self).settle(step, params)
    }

    fn detach(&self, params: &Params) -> Result<Plan, Error> {
        (**self).detach(params)
    }

    fn export(&self, step: usize, params: &Params) -> Result<Option<AdapterFile>, Error> {
        (**self).export(step, params)
    }

    fn record(&self, params: &Params) -> Result<Record, Error> {
        (**self).record(params)
    }

    fn restore(&mut self, step: usize, record: &Record, params: &Params) -> Result<Plan, Error> {
        (**self).restore(step, record, params)
    }
}

/// What a method attaches to a model.
#[derive(Debug, Default)]
pub struct Attachments {
    /// Adapter by the parameter it goes to.
    pub adapters: Vec<(ParamId, Adapter)>,
    /// Bases whose dense gradient the first step needs.
    pub tracked: Vec<ParamId>,
    /// Parameters trained densely by the optimizer.
    pub dense: Vec<ParamId>,
}

/// Something a method did that a person may want to see.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A subnet moved (LoSiA).
    Relocalization(Box<Relocalization>),
    /// The rank budget was distributed anew (AdaLoRA).
    Allocation(Allocation),
}

impl Event {
    /// The move of a subnet, if it is one.
    pub fn into_relocalization(self) -> Option<Relocalization> {
        match self {
            Self::Relocalization(moved) => Some(*moved),
            Self::Allocation(_) => None,
        }
    }

    /// The distribution of the rank budget, if it is one.
    pub fn into_allocation(self) -> Option<Allocation> {
        match self {
            Self::Allocation(allocation) => Some(allocation),
            Self::Relocalization(_) => None,
        }
    }
}
