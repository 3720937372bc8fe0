//! Properties every method must have. A method is one line in `methods.rs` and inherits them all.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod identity;
mod merging;
mod methods;
mod precision;
mod resume;
mod switching;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use common::{Batch, Mlp};
use methods::Candidate;
use peft_core::{Method, Record, Tuner, TunerConfig};

/// Steps of a run: long enough for moves, cuts and compaction.
pub(crate) const STEPS: usize = 18;

/// A method on a model, with batches to train on.
pub(crate) struct Run {
    pub(crate) tuner: Tuner,
    pub(crate) model: Mlp,
    pub(crate) batches: Vec<Batch>,
}

impl Run {
    pub(crate) fn new(candidate: &Candidate, device: &Device) -> Self {
        Self::on(candidate, Mlp::new(device, true), device)
    }

    pub(crate) fn on(candidate: &Candidate, model: Mlp, device: &Device) -> Self {
        let (tuner, model) =
            Tuner::attach((candidate.method)(), TunerConfig::default(), model).expect("attaches");
        Self { tuner, model, batches: common::batches(device, 4) }
    }

    /// Losses before each of `count` steps.
    pub(crate) fn train(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let batch = &self.batches[self.tuner.steps() % self.batches.len()];
                let loss = self.model.loss(batch);
                let value = loss.clone().into_scalar::<f32>();
                let grads = GradientsParams::from_grads(loss.backward(), &self.model);
                let model = self.model.clone();
                let step = self.tuner.step(model, &mut common::optim(), grads, 1.0);
                self.model = step.expect("steps").0;
                value
            })
            .collect()
    }

    pub(crate) fn trained(candidate: &Candidate, device: &Device) -> Self {
        let mut run = Self::new(candidate, device);
        run.train(STEPS);
        run
    }

    pub(crate) fn output(&self) -> TensorData {
        output(&self.model, &self.batches[0])
    }

    pub(crate) fn record(&self) -> Record {
        self.tuner.record(&self.model).expect("records")
    }
}

/// What a model says to a batch, without dropout.
pub(crate) fn output(model: &Mlp, batch: &Batch) -> TensorData {
    model.valid().forward(batch.0.clone().inner()).into_data()
}

/// Whether each float parameter requires a gradient, by path; adapters included.
pub(crate) fn tracked<M: Module>(model: &M) -> Vec<(String, bool)> {
    struct Collect(Vec<String>, Vec<(String, bool)>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.is_require_grad()));
        }
    }
    let mut collect = Collect(vec![], vec![]);
    model.visit(&mut collect);
    collect.1
}

pub(crate) fn boxed(method: impl Method + 'static) -> Box<dyn Method> {
    Box::new(method)
}
