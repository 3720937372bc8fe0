//! A weight's slot: its importance is gathered, and its subnet moves at the end.

use burn::tensor::{FloatDType, Int, Tensor};
use serde::Serialize;

use super::Losia;
use super::target::LosiaTarget;
use crate::method::Event;
use crate::subnet::{Localized, Strategy, Subnet, gather, localize};
use crate::{Error, Importance, Params, Plan};

/// A subnet that moved at the end of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Relocalization {
    /// Path of the weight.
    pub path: String,
    /// Greedy order that won; `None` if the old subnet was kept because a score was not a number.
    pub strategy: Option<Strategy>,
    /// Share of the total score inside the new subnet. Not a number without a strategy.
    pub score_share: f64,
    /// Share of the squared gradient of this step inside the new subnet. The error bound of the
    /// paper is what falls outside. Not a number without a gradient, or for one that is all zeros.
    pub gradient_share: f64,
    /// The new subnet.
    #[serde(skip)]
    pub subnet: Subnet,
    /// Sum of the scores inside the new subnet. Not a number without a strategy.
    #[serde(skip)]
    pub score_sum: f64,
}

impl Losia {
    /// Smooths the importance of a weight whose slot it is.
    pub(super) fn record_importance(
        &mut self,
        step: usize,
        index: usize,
        grad: Tensor<2>,
        params: &Params,
    ) -> Result<(), Error> {
        let config = &self.config;
        let target = &mut self.targets[index];
        let weight = target.effective_weight(params)?;
        let sample = config.sensitivity.of(weight, grad.clone());
        let (b1, b2) = (config.imp_beta1, config.imp_beta2);
        target.importance = Some(match target.importance.take() {
            Some(importance) => importance.update(sample, b1, b2),
            None => Importance::first(sample, b1, b2),
        });
        if self.slots.relocalizes(step, target.slot) {
            target.dense_grad = Some(grad);
        }
        Ok(())
    }

    /// Settles the block and starts a new one where the importance is.
    pub(super) fn relocalize(
        &mut self,
        step: usize,
        index: usize,
        params: &Params,
        delta: Tensor<2>,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let target = &mut self.targets[index];
        let grad = target.dense_grad.take();
        let Some(importance) = target.importance.take() else {
            plan.set(target.delta, delta); // no gradient reached the weight: nothing to go by
            return Ok(());
        };
        let device = delta.device();
        let block = target.block(step, params, delta, self.config.journal)?;
        target.settle(&block, params, plan)?;
        self.settled.push(block);
        target.moments = None;
        let found = localize(&importance.score(), target.size);
        if let Some(found) = &found {
            target.subnet = found.subnet.clone();
        }
        let [rows, cols] = target.subnet.to_tensors(&device);
        plan.set_int(target.rows, rows.clone());
        plan.set_int(target.cols, cols.clone());
        let gradient_share = grad.map_or(f64::NAN, |grad| squared_share(grad, rows, cols));
        let moved = Relocalization::new(target, found, gradient_share);
        plan.report(Event::Relocalization(Box::new(moved)));
        Ok(())
    }
}

impl Relocalization {
    /// What to report of a weight that has its new subnet.
    fn new(target: &LosiaTarget, found: Option<Localized>, gradient_share: f64) -> Self {
        let of_score = |value: fn(&Localized) -> f64| found.as_ref().map_or(f64::NAN, value);
        Self {
            path: target.path.clone(),
            strategy: found.as_ref().map(|found| found.strategy),
            score_share: of_score(|found| found.score_sum / found.score_total),
            gradient_share,
            subnet: target.subnet.clone(),
            score_sum: of_score(|found| found.score_sum),
        }
    }
}

/// Share of a gradient's squared norm inside a block.
fn squared_share(grad: Tensor<2>, rows: Tensor<1, Int>, cols: Tensor<1, Int>) -> f64 {
    let square = |grad: Tensor<2>| {
        let grad = grad.cast(FloatDType::F32);
        f64::from(grad.clone().mul(grad).sum().into_scalar::<f32>())
    };
    square(gather(grad.clone(), rows, cols)) / square(grad)
}
