//! One adapted weight and its share of the method's state.

use burn::module::ParamId;
use burn::tensor::{FloatDType, Int, Tensor};

use super::delta::{SubnetDelta, add_block};
use crate::optimizer::Moments;
use crate::subnet::{SettledBlock, Subnet, gather};
use crate::{Error, Importance, ParamInfo, Params, Plan, to_host};

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
    pub(super) fn new(
        param: &ParamInfo,
        slot: usize,
        block: &SubnetDelta,
        subnet: Subnet,
        shape: [usize; 2],
    ) -> Self {
        Self {
            path: param.path.clone(),
            shape,
            size: subnet.size(),
            slot,
            base: param.id,
            rows: block.rows.id,
            cols: block.cols.id,
            delta: block.delta.id,
            subnet,
            moments: None,
            importance: None,
            dense_grad: None,
        }
    }

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

    pub(super) fn matrix(&self, params: &Params, id: ParamId) -> Result<Tensor<2>, Error> {
        params.require(id, &self.path)
    }

    /// Base + Δ, f32.
    pub(super) fn effective_weight(&self, params: &Params) -> Result<Tensor<2>, Error> {
        let weight = self.matrix(params, self.base)?.cast(FloatDType::F32);
        let [rows, cols] = self.indices(params)?;
        Ok(add_block(weight, rows, cols, self.matrix(params, self.delta)?))
    }

    /// The base's entries in the subnet, f32.
    pub(super) fn base_block(&self, params: &Params) -> Result<Tensor<2>, Error> {
        let [rows, cols] = self.indices(params)?;
        Ok(gather(self.matrix(params, self.base)?, rows, cols).cast(FloatDType::F32))
    }

    /// The block as it will be settled. It is the host's copy that is added to the base, so that a
    /// rebuild from the settled blocks gives the same bits.
    pub(super) fn block(
        &self,
        step: usize,
        params: &Params,
        delta: Tensor<2>,
        journal: bool,
    ) -> Result<SettledBlock, Error> {
        let delta = to_host(delta);
        if !delta.iter::<f32>().all(f32::is_finite) {
            return Err(Error::NotFinite { path: self.path.clone(), step });
        }
        let original = match journal {
            true => {
                let [rows, cols] = self.indices(params)?;
                Some(to_host(gather(self.matrix(params, self.base)?, rows, cols)))
            }
            false => None,
        };
        let (path, subnet) = (self.path.clone(), self.subnet.clone());
        Ok(SettledBlock { path, step, subnet, delta, original })
    }

    /// Plans a settled block into the base, and one without effect in its place.
    pub(super) fn settle(
        &self,
        block: &SettledBlock,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        self.clear(params, plan)?;
        plan.set(self.base, block.apply(self.matrix(params, self.base)?)?);
        Ok(())
    }

    /// Plans a block without effect.
    pub(super) fn clear(&self, params: &Params, plan: &mut Plan) -> Result<(), Error> {
        let delta = self.matrix(params, self.delta)?;
        plan.set(self.delta, delta.full_like(-0.0)); // −0 is the exact neutral element
        Ok(())
    }

    /// Rows and columns of the subnet as they are on the device.
    fn indices(&self, params: &Params) -> Result<[Tensor<1, Int>; 2], Error> {
        let rows = params.indices(self.rows).ok_or_else(|| self.gone())?;
        let cols = params.indices(self.cols).ok_or_else(|| self.gone())?;
        Ok([rows, cols])
    }

    fn gone(&self) -> Error {
        Error::ParameterGone { path: self.path.clone() }
    }
}
