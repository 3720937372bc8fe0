//! Changes to a model, decided first and applied in one traversal.

use std::any::Any;
use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Int, Tensor};

use crate::Event;

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
    /// Replaces a float parameter.
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
    pub fn apply<M: Module>(mut self, model: M) -> (M, Vec<Event>) {
        let model = match self.changes.is_empty() {
            true => model,
            false => model.map(&mut Applier(&mut self.changes)),
        };
        (model, self.events)
    }
}

struct Applier<'a>(&'a mut HashMap<ParamId, Change>);

impl Change {
    fn take<T: 'static>(value: Option<Box<dyn Any + Send>>) -> Option<T> {
        value.and_then(|value| value.downcast::<T>().ok()).map(|value| *value)
    }
}

impl ModuleMapper for Applier<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(change) = self.0.remove(&param.id) else { return param };
        let tracked = change.tracked.unwrap_or_else(|| param.is_require_grad());
        let param = match Change::take::<Tensor<D>>(change.value) {
            Some(value) => param.map(|old| leaf_like(&old, value)),
            None => param,
        };
        param.set_require_grad(tracked)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        match self.0.remove(&param.id).and_then(|change| Change::take(change.value)) {
            Some(value) => param.map(|old| match old.is_autodiff() {
                true => Tensor::from_inner(value),
                false => value,
            }),
            None => param,
        }
    }
}

/// `value` as an untracked leaf in the autodiff context of `old`.
fn leaf_like<const D: usize>(old: &Tensor<D>, value: Tensor<D>) -> Tensor<D> {
    match old.gradient_checkpointing_strategy() {
        Some(strategy) => value.autodiff().with_gradient_checkpointing_strategy(strategy),
        None => value,
    }
}
