//! What a model says, and what its parameters are.

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use peft_core::{Place, VisitFloat, visit_floats};

use crate::common::{Batch, Mlp};

/// What a model says to a batch, without dropout.
pub fn output(model: &Mlp, batch: &Batch) -> TensorData {
    model.valid().forward(batch.0.clone().inner()).into_data()
}

/// Gradients of the loss on a batch, of all matrices that have one, by path.
pub fn gradients(model: &Mlp, batch: &Batch) -> Vec<(String, TensorData)> {
    let grads = GradientsParams::from_grads(model.loss(batch).backward(), model);
    let gradient = |Found { path, id, .. }| Some((path, grads.get::<2>(id)?.into_data()));
    parameters(model).into_iter().filter(|found| found.rank == 2).filter_map(gradient).collect()
}

/// A float parameter.
pub struct Found {
    pub path: String,
    pub id: ParamId,
    pub rank: usize,
    /// Whether it requires a gradient.
    pub tracked: bool,
}

/// Every float parameter, those of adapters included.
pub fn parameters(model: &Mlp) -> Vec<Found> {
    struct Collect(Vec<Found>);
    impl VisitFloat for Collect {
        fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
            let (path, tracked) = (place.path(), param.is_require_grad());
            self.0.push(Found { path, id: param.id, rank: D, tracked });
        }
    }
    let mut collect = Collect(vec![]);
    visit_floats(model, &mut collect);
    collect.0
}
