//! One adapted weight and its share of the method's state.

use burn::module::ParamId;
use burn::tensor::Tensor;
use serde::Serialize;

use super::adam::Moments;
use crate::Importance;
use crate::subnet::{Strategy, Subnet};

/// A weight with a subnet.
#[derive(Debug)]
pub struct LosiaTarget {
    pub(super) path: String,
    pub(super) shape: [usize; 2],
    pub(super) size: [usize; 2],
    pub(super) slot: usize,
    pub(super) base: ParamId,
    pub(super) rows: ParamId,
    pub(super) cols: ParamId,
    pub(super) delta: ParamId,
    pub(super) subnet: Subnet,
    pub(super) moments: Option<Moments>,
    /// Present only in the weight's own slot.
    pub(super) importance: Option<Importance>,
    /// The last dense gradient of the slot, between observation and update.
    pub(super) dense_grad: Option<Tensor<2>>,
}

impl LosiaTarget {
    /// Path of the weight.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Slot in which its importance is gathered.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Its current subnet.
    pub fn subnet(&self) -> &Subnet {
        &self.subnet
    }
}

/// A subnet that moved at the end of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Relocalization {
    /// Path of the weight.
    pub path: String,
    /// Greedy order that won; `None` if the old subnet was kept because a score was not a number.
    pub strategy: Option<Strategy>,
    /// Share of the total score inside the new subnet.
    pub score_share: f64,
    /// Share of the squared gradient of this step inside the new subnet. The error bound of the
    /// paper is what falls outside.
    pub gradient_share: f64,
    /// The new subnet.
    #[serde(skip)]
    pub subnet: Subnet,
    /// The score it was chosen by, of the weight's shape.
    #[serde(skip)]
    pub score: Tensor<2>,
    /// Sum of the scores inside the new subnet.
    #[serde(skip)]
    pub score_sum: f64,
}
