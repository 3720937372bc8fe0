//! Changes to a model, decided first and applied in one traversal.

use std::any::Any;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::kind::Autodiff;
use burn::tensor::{FloatDType, Int, Tensor};

use crate::{Error, Event};

/// What a method wants changed. Values carry no autodiff; applying a plan makes them leaves that
/// require gradients exactly where the parameter did, or where [`track`](Plan::track) says so.
#[derive(Default)]
pub struct Plan {
    changes: HashMap<ParamId, Change>,
    events: Vec<Event>,
}

#[derive(Default)]
struct Change {
    value: Option<Box<dyn Any + Send>>,
    tracked: Option<bool>,
}

impl Plan {
    /// Replaces a float parameter, whose dtype stays.
    pub fn set<const D: usize>(&mut self, id: ParamId, value: Tensor<D>) {
        self.changes.entry(id).or_default().value = Some(Box::new(value));
    }

    /// Replaces an integer parameter.
    pub fn set_int<const D: usize>(&mut self, id: ParamId, value: Tensor<D, Int>) {
        self.changes.entry(id).or_default().value = Some(Box::new(value));
    }

    /// Makes a float parameter require gradients, or not.
    pub fn track(&mut self, id: ParamId, tracked: bool) {
        self.changes.entry(id).or_default().tracked = Some(tracked);
    }

    /// Reports something that happened.
    pub fn report(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The model with every change made, and what there is to report.
    ///
    /// # Errors
    /// [`Error::ParameterGone`] if the model has no such parameter, or one of another kind or rank.
    pub fn apply<M: Module>(mut self, model: M) -> Result<(M, Vec<Event>), Error> {
        if self.changes.is_empty() {
            return Ok((model, self.events));
        }
        let model = model.map(&mut Applier(&mut self.changes));
        match self.changes.keys().next() {
            Some(left) => Err(Error::ParameterGone { path: left.to_string() }),
            None => Ok((model, self.events)),
        }
    }
}

/// Makes changes, and leaves those in the map that fit no parameter.
struct Applier<'a>(&'a mut HashMap<ParamId, Change>);

impl ModuleMapper for Applier<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(Change { value, tracked }) = self.0.remove(&param.id) else { return param };
        let tracked = tracked.unwrap_or_else(|| param.is_require_grad());
        let param = match value.map(<Box<dyn Any + Send>>::downcast::<Tensor<D>>) {
            Some(Ok(value)) => param.map(|old| {
                let value = value.cast(FloatDType::from(old.dtype()));
                leaf_like(&old, value)
            }),
            Some(Err(value)) => {
                self.0.insert(param.id, Change { value: Some(value), tracked: None });
                return param;
            }
            None => param,
        };
        param.set_require_grad(tracked)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some(Change { value: Some(value), tracked }) = self.0.remove(&param.id) else {
            return param;
        };
        match value.downcast::<Tensor<D, Int>>() {
            Ok(value) => param.map(|old| leaf_like(&old, *value)),
            Err(value) => {
                self.0.insert(param.id, Change { value: Some(value), tracked });
                param
            }
        }
    }
}

/// `value` as an untracked leaf in the autodiff context of `old`: operations refuse to mix
/// gradient-checkpointing strategies.
pub(crate) fn leaf_like<const D: usize, K: Autodiff>(
    old: &Tensor<D, K>,
    value: Tensor<D, K>,
) -> Tensor<D, K> {
    match old.gradient_checkpointing_strategy() {
        Some(strategy) => value.autodiff().with_gradient_checkpointing_strategy(strategy),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;
    use crate::testing::device;

    fn layer(device: &burn::tensor::Device) -> Linear {
        LinearConfig::new(2, 3).init(device)
    }

    #[test]
    fn a_new_value_keeps_the_context_of_the_old() {
        let plain = device();
        for device in [plain.clone().autodiff(), plain.clone().autodiff().gradient_checkpointing()]
        {
            let layer = layer(&device);
            let mut plan = Plan::default();
            plan.set(layer.weight.id, Tensor::<2>::ones([2, 3], &plain));
            let (layer, _) = plan.apply(layer).unwrap();
            assert_eq!(layer.weight.base().device(), device);
            assert!(layer.weight.is_require_grad(), "as before");

            let mut plan = Plan::default();
            plan.track(layer.weight.id, false);
            let (layer, _) = plan.apply(layer).unwrap();
            assert!(!layer.weight.is_require_grad());
            assert_eq!(layer.weight.val().sum().into_scalar::<f32>(), 6.0);
        }
    }

    #[test]
    fn a_change_that_fits_no_parameter_is_refused() {
        let device = device();
        let target = layer(&device);
        let (weight, stranger) = (target.weight.id, ParamId::new());
        let value = || Tensor::<1>::ones([3], &device);
        let changed = |change: &dyn Fn(&mut Plan)| {
            let mut plan = Plan::default();
            change(&mut plan);
            plan
        };
        for (id, plan) in [
            (stranger, changed(&|plan| plan.set(stranger, value()))),
            (stranger, changed(&|plan| plan.track(stranger, true))),
            (weight, changed(&|plan| plan.set(weight, value()))), // a vector for a matrix
        ] {
            let error = plan.apply(target.clone()).unwrap_err();
            assert_eq!(error, Error::ParameterGone { path: id.to_string() });
        }
    }
}
