//! A weight with a low-rank adapter.

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};

use super::factor::{Factor, Update};
use crate::host::is_finite;
use crate::{Error, ParamInfo, Params, Plan, Record};

/// The value of a factor after a step, with the gradient it was stepped by. A factor without one was
/// not part of the forward pass.
pub type Stepped = (Tensor<2>, Option<Tensor<2>>);

/// An adapted weight and the matrices that are trained for it.
#[derive(Debug)]
pub struct LowRankTarget {
    /// Path of the weight.
    pub path: String,
    pub base: ParamId,
    pub factors: Vec<Factor>,
}

impl LowRankTarget {
    pub fn new(param: &ParamInfo, factors: Vec<Factor>) -> Self {
        Self { path: param.path.clone(), base: param.id, factors }
    }

    /// Path of the module whose weight this is.
    pub fn module_path(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(module, _)| module)
    }

    /// Ranks of the adapter.
    pub fn rank(&self) -> usize {
        self.factors.iter().find_map(Factor::rank).unwrap_or(0)
    }

    pub fn gone(&self) -> Error {
        Error::ParameterGone { path: self.path.clone() }
    }

    /// The stored weight, f32.
    pub fn base(&self, params: &Params) -> Result<Tensor<2>, Error> {
        Ok(params.require(self.base, &self.path)?.cast(FloatDType::F32))
    }

    /// The current value of factor number `index`.
    pub fn value(&self, index: usize, params: &Params) -> Result<Tensor<2>, Error> {
        params.require(self.factors[index].id, &self.path)
    }

    /// Takes every factor's gradient and steps it. Factors without one stay.
    pub fn stepped(
        &mut self,
        update: &Update,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Vec<Stepped>, Error> {
        (0..self.factors.len())
            .map(|index| {
                let value = self.value(index, params)?;
                let factor = &mut self.factors[index];
                Ok(match grads.remove::<2>(factor.id) {
                    Some(grad) => (factor.stepped(value, grad.clone(), update), Some(grad)),
                    None => (value, None),
                })
            })
            .collect()
    }

    /// Plans `effective`, f32, as the weight in place of the stored one, rounded once, and leaves
    /// the adapter without rank, so that it has no effect.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if what it is rounded to is not finite: the weight then stays as it is.
    pub fn fold(
        &self,
        effective: Tensor<2>,
        step: usize,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let dtype = params.require(self.base, &self.path)?.dtype();
        let rounded = effective.cast(FloatDType::from(dtype));
        if !is_finite(rounded.clone()) {
            return Err(Error::NotFinite { path: self.path.clone(), step });
        }
        plan.set(self.base, rounded);
        self.clear(params, plan)
    }

    /// Plans an adapter that keeps only the ranks `keep` of `values`, by factor.
    pub fn shrink(&mut self, values: Vec<Tensor<2>>, keep: &[usize], plan: &mut Plan) {
        for (factor, value) in self.factors.iter_mut().zip(values) {
            factor.shrink(value, keep, plan);
        }
    }

    /// Plans an adapter without rank, which has no effect.
    pub fn clear(&self, params: &Params, plan: &mut Plan) -> Result<(), Error> {
        for (factor, value) in self.factors.iter().zip(self.values(params)?) {
            factor.clear(value, plan);
        }
        Ok(())
    }

    /// The current values of all factors.
    pub fn values(&self, params: &Params) -> Result<Vec<Tensor<2>>, Error> {
        (0..self.factors.len()).map(|index| self.value(index, params)).collect()
    }

    pub fn record(&self, params: &Params, record: &mut Record) -> Result<(), Error> {
        for (index, factor) in self.factors.iter().enumerate() {
            factor.record(&self.path, self.value(index, params)?, record);
        }
        Ok(())
    }

    pub fn restore(
        &mut self,
        record: &Record,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let device = params.require(self.base, &self.path)?.device();
        let path = &self.path;
        self.factors.iter_mut().try_for_each(|factor| factor.restore(path, record, &device, plan))
    }
}
