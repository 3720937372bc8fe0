//! The model as the Learner sees it.

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::{Adaptor, LossInput};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use peft_llama::{CausalLm, cross_entropy_sum};

use super::session::Session;
use crate::data::Batch;

/// A model together with the run that trains it.
///
/// [`TrainStep::optimize`] is where the Learner hands over to the method's step function.
#[derive(Module, Debug)]
pub struct FineTune {
    /// The model, adapters attached.
    pub model: CausalLm,
    #[module(skip)]
    session: Session,
}

/// Mean loss of a batch over its target tokens.
#[derive(Debug)]
pub struct BatchLoss {
    /// Once per target token: Burn's metrics weigh what they average by the number of elements.
    loss: Tensor<1>,
}

impl BatchLoss {
    /// Of the sum of the losses `[1]`.
    fn of(sum: Tensor<1>, batch: &Batch) -> Self {
        let targets = batch.target_tokens.max(1);
        Self { loss: sum.div_scalar(targets as f64).expand([targets]) }
    }
}

impl FineTune {
    pub(super) fn new(model: CausalLm, session: Session) -> Self {
        Self { model, session }
    }

    /// Sum of the losses of the batch's target tokens, `[1]`.
    fn loss_sum(&self, batch: &Batch) -> Tensor<1> {
        let mask = Some(batch.attention_mask.clone());
        let ids = batch.input_ids.clone();
        let logits = self.model.forward_packed(ids, mask, &batch.document_starts);
        cross_entropy_sum(logits, batch.labels.clone()).0
    }
}

impl TrainStep for FineTune {
    type Input = Batch;
    type Output = BatchLoss;

    /// Leaves the gradients to the session, which adds them up in the order of the batches, where
    /// the Learner does so in the order in which devices finish.
    fn step(&self, batch: Batch) -> TrainOutput<BatchLoss> {
        let turn = self.session.before_forward(&batch);
        let sum = self.loss_sum(&batch);
        drop(turn);
        self.session.count(&batch, sum.clone().detach().inner());
        let mean = sum.clone().div_scalar(batch.step_targets.max(1) as f64);
        let grads = self.session.scaled(mean).backward();
        let grads = GradientsParams::from_grads(grads, &self.model);
        self.session.after_backward(&self.model, &batch, grads);
        TrainOutput { grads: GradientsParams::new(), item: BatchLoss::of(sum.detach(), &batch) }
    }

    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        _lr: ModuleLearningRate,
        _grads: GradientsParams,
    ) -> Self {
        let Self { model, session } = self;
        // What the Learner gets back if the step fails. It holds a handle of its own during this
        // call, so that another costs nothing.
        let before = model.clone();
        let model = session.advance(model, optim).unwrap_or(before);
        Self { model, session }
    }

    fn optimize_multi(
        self,
        _optim: &mut ModuleOptimizer,
        _lr: ModuleLearningRate,
        _grads: MultiGradientsParams,
    ) -> Self {
        self.session.refuse_sharded_optimizer();
        self
    }
}

impl InferenceStep for FineTune {
    type Input = Batch;
    type Output = BatchLoss;

    fn step(&self, batch: Batch) -> BatchLoss {
        let sum = self.loss_sum(&batch);
        self.session.evaluated(&batch, sum.clone());
        BatchLoss::of(sum, &batch)
    }
}

impl ItemLazy for BatchLoss {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.loss.device().flush()?;
        Ok(Self { loss: self.loss.without_autodiff() })
    }
}

impl Adaptor<LossInput> for BatchLoss {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.loss.clone())
    }
}
