//! One trained matrix of an adapter.

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor};

use crate::optimizer::{Moments, Optimizer};
use crate::{Error, Plan, Record};

/// A trained matrix: where it is, and its optimizer state.
#[derive(Debug)]
pub struct Factor {
    /// Field of the adapter, by which it is named in records.
    pub field: &'static str,
    pub id: ParamId,
    pub shape: [usize; 2],
    /// The dimension that counts ranks; `None`: the matrix is of another kind.
    rank_dim: Option<usize>,
    /// Factor on the learning rate.
    lr_ratio: f64,
    moments: Option<Moments>,
}

/// What all factors share in one update.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    /// Number of the update, from 1.
    pub t: usize,
}

impl Factor {
    pub fn new(field: &'static str, param: &Param<Tensor<2>>, rank_dim: Option<usize>) -> Self {
        let shape = param.lazy_shape().dims();
        Self { field, id: param.id, shape, rank_dim, lr_ratio: 1.0, moments: None }
    }

    pub fn with_lr_ratio(self, lr_ratio: f64) -> Self {
        Self { lr_ratio, ..self }
    }

    /// The matrix after one update.
    pub fn stepped(&mut self, value: Tensor<2>, grad: Tensor<2>, update: &Update) -> Tensor<2> {
        let lr = update.learning_rate * self.lr_ratio;
        let moments = self.moments.take();
        let (value, moments) = update.optimizer.step(value, grad, moments, lr, update.t);
        self.moments = moments;
        value
    }

    /// Keeps only the ranks `keep`, in the optimizer state too, and plans the smaller matrix.
    pub fn shrink(&mut self, value: Tensor<2>, keep: &[usize], plan: &mut Plan) {
        let Some(dim) = self.rank_dim else { return plan.set(self.id, value) };
        let take = |tensor| kept(tensor, dim, keep);
        let moments = self.moments.take();
        self.moments = moments.map(|m| Moments { first: take(m.first), second: take(m.second) });
        self.shape[dim] = keep.len();
        plan.set(self.id, take(value));
    }

    /// The ranks `keep` of a value.
    pub fn kept(&self, value: Tensor<2>, keep: &[usize]) -> Tensor<2> {
        match self.rank_dim {
            Some(dim) => kept(value, dim, keep),
            None => value,
        }
    }

    /// Plans the matrix without ranks.
    pub fn clear(&self, value: Tensor<2>, plan: &mut Plan) {
        if let Some(dim) = self.rank_dim {
            plan.set(self.id, kept(value, dim, &[]));
        }
    }

    pub fn rank(&self) -> Option<usize> {
        self.rank_dim.map(|dim| self.shape[dim])
    }

    /// Expects `rank` ranks.
    pub fn set_rank(&mut self, rank: usize) {
        if let Some(dim) = self.rank_dim {
            self.shape[dim] = rank;
        }
    }

    pub fn record(&self, path: &str, value: Tensor<2>, record: &mut Record) {
        record.insert(entry(path, self.field), value);
        if let Some(Moments { first, second }) = &self.moments {
            record.insert(entry(path, &format!("{}.exp_avg", self.field)), first.clone());
            record.insert(entry(path, &format!("{}.exp_avg_sq", self.field)), second.clone());
        }
    }

    pub fn restore(
        &mut self,
        path: &str,
        record: &Record,
        device: &Device,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let tensor = |data| Tensor::<2>::from_data(data, (device, DType::F32));
        let moment =
            |name: &str| record.get(&entry(path, &format!("{}.{name}", self.field)), &self.shape);
        let moments = moment("exp_avg")?.zip(moment("exp_avg_sq")?);
        self.moments =
            moments.map(|(first, second)| Moments { first: tensor(first), second: tensor(second) });
        plan.set(self.id, tensor(record.require(&entry(path, self.field), &self.shape)?));
        Ok(())
    }
}

/// The slices `keep` of dimension `dim`.
fn kept(tensor: Tensor<2>, dim: usize, keep: &[usize]) -> Tensor<2> {
    let device = tensor.device();
    let mut shape = tensor.dims();
    shape[dim] = keep.len();
    match keep.is_empty() {
        true => Tensor::zeros(shape, (&device, tensor.dtype())), // backends select nothing badly
        false => {
            let keep: Vec<i64> = keep.iter().map(|&index| index as i64).collect();
            tensor.select(dim, Tensor::from_data(keep.as_slice(), &device))
        }
    }
}

fn entry(path: &str, field: &str) -> String {
    format!("{path}.{field}")
}
