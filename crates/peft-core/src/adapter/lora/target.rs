//! One adapted weight and what its adapter started from.

use burn::tensor::{DType, Tensor, TensorData};

use super::delta::{column_norms, effective};
use super::init::pissa;
use super::{LoraConfig, LoraInit};
use crate::adapter::low_rank::LowRankTarget;
use crate::host::is_finite;
use crate::{Error, Params, Plan, Record, to_host};

/// Positions of the factors.
const A: usize = 0;
const B: usize = 1;
const MAGNITUDE: usize = 2;

/// An adapted weight.
#[derive(Debug)]
pub(super) struct LoraTarget {
    pub low_rank: LowRankTarget,
    pub rank: usize,
    pub scaling: f64,
    /// The first factors of PiSSA, on the host: their product was taken out of the weight. A merge
    /// gives it back through the trained factors, an export as plain LoRA subtracts it.
    pub taken: Option<[TensorData; 2]>,
}

impl LoraTarget {
    /// Sets what depends on the weight: magnitudes, and PiSSA's factors.
    pub fn initialize(
        &mut self,
        config: &LoraConfig,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        if config.use_dora {
            let norms = column_norms(self.low_rank.base(params)?);
            plan.set(self.low_rank.factors[MAGNITUDE].id, norms);
        }
        let iterations = match config.init_lora_weights {
            LoraInit::Kaiming => return Ok(()),
            LoraInit::Pissa => None,
            LoraInit::PissaNiter(iterations) => Some(iterations),
        };
        self.take(self.principal(iterations, config.seed, params)?, params, plan)
    }

    /// Factors of the principal part of the weight.
    fn principal(
        &self,
        iterations: Option<usize>,
        seed: u64,
        params: &Params,
    ) -> Result<[TensorData; 2], Error> {
        let path = &self.low_rank.path;
        let weight = self.low_rank.base(params)?;
        if !is_finite(weight.clone()) {
            return Err(Error::Setting {
                key: "init_lora_weights",
                found: format!("PiSSA for `{path}`, some values of which are not finite"),
                expected: "a weight that can be decomposed",
            });
        }
        let factors = pissa(weight, self.rank, self.scaling, iterations, seed, path);
        Ok(factors.map(to_host))
    }

    /// Moves the product of `first` from the weight into the factors. A restored run does the same
    /// with the factors of its record, so that it has the same weight.
    fn take(
        &mut self,
        first: [TensorData; 2],
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let weight = self.low_rank.base(params)?;
        let device = weight.device();
        let tensor =
            |data: &TensorData| Tensor::<2>::from_data(data.clone(), (&device, DType::F32));
        let [a, b] = first.each_ref().map(tensor);
        let product = a.clone().matmul(b.clone()).mul_scalar(self.scaling);
        plan.set(self.low_rank.base, weight.sub(product));
        plan.set(self.low_rank.factors[A].id, a);
        plan.set(self.low_rank.factors[B].id, b);
        self.taken = Some(first);
        Ok(())
    }

    /// The weight with its adapter folded in, f32.
    pub fn effective(&self, params: &Params) -> Result<Tensor<2>, Error> {
        let mut values = self.low_rank.values(params)?.into_iter();
        let base = self.low_rank.base(params)?;
        match (values.next(), values.next()) {
            (Some(a), Some(b)) => Ok(effective(base, [a, b], values.next(), self.scaling)),
            _ => Ok(base),
        }
    }

    pub fn record(&self, params: &Params, record: &mut Record) -> Result<(), Error> {
        if let Some(taken) = &self.taken {
            record.tensors.extend(self.first_entries().into_iter().zip(taken.clone()));
        }
        self.low_rank.record(params, record)
    }

    pub fn restore(
        &mut self,
        config: &LoraConfig,
        record: &Record,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        self.restore_first(config, record, params, plan)?;
        self.low_rank.restore(record, params, plan)
    }

    /// Takes what the record's run took out of the weight.
    fn restore_first(
        &mut self,
        config: &LoraConfig,
        record: &Record,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let entries = self.first_entries();
        let refuse = |problem: &str| {
            Err(Error::Record { entry: entries[A].clone(), problem: problem.into() })
        };
        if config.init_lora_weights == LoraInit::Kaiming {
            return match record.tensors.contains_key(&entries[A]) {
                true => refuse("was taken out of the weight by PiSSA, which is not configured"),
                false => Ok(()),
            };
        }
        let shape = |index: usize| self.low_rank.factors[index].shape;
        let first =
            [record.require(&entries[A], &shape(A))?, record.require(&entries[B], &shape(B))?];
        match &self.taken {
            None => self.take(first, params, plan),
            Some(taken) if *taken == first => Ok(()),
            Some(_) => {
                refuse("is not what was taken out of this model's weight when it was attached")
            }
        }
    }

    fn first_entries(&self) -> [String; 2] {
        [A, B].map(|index| {
            let LowRankTarget { path, factors, .. } = &self.low_rank;
            format!("{path}.{}.first", factors[index].field)
        })
    }
}
