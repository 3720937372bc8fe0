//! LoSiA as a method: whose importance to gather, how to update blocks, when to move them.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::target::LosiaTarget;
use super::{LosiaConfig, SubnetDelta};
use crate::adapter::Adapter;
use crate::method::{Attachments, Method};
use crate::optimizer::{Adam, Epsilon};
use crate::schedule::{Slots, SubnetSchedule};
use crate::store::{AdapterFile, SettledBlocks};
use crate::subnet::{SettledBlock, Subnet};
use crate::{Catalogue, Error, Params, Plan, Record};

/// LoSiA, or LoSiA-Pro where the configuration says so.
#[derive(Debug)]
pub struct Losia {
    pub(super) config: LosiaConfig,
    pub(super) slots: Slots,
    pub(super) schedule: SubnetSchedule,
    pub(super) targets: Vec<LosiaTarget>,
    pub(super) settled: Vec<SettledBlock>,
    pub(super) first_subnets: Vec<(String, Subnet)>,
}

impl Losia {
    /// The method, not yet attached to a model.
    ///
    /// # Errors
    /// [`Error::Setting`] if the configuration is invalid.
    pub fn new(config: LosiaConfig) -> Result<Self, Error> {
        config.validate()?;
        let slots = config.slots(1);
        let schedule = config.schedule(&slots);
        let (targets, settled, first_subnets) = Default::default();
        Ok(Self { config, slots, schedule, targets, settled, first_subnets })
    }

    /// Starts from given subnets, by path of the weight, instead of random ones. Later subnets of
    /// that weight have the size of the given one.
    #[must_use]
    pub fn with_first_subnets(mut self, subnets: Vec<(String, Subnet)>) -> Self {
        self.first_subnets = subnets;
        self
    }

    /// The adapted weights.
    pub fn targets(&self) -> &[LosiaTarget] {
        &self.targets
    }

    /// Blocks settled so far, in order. Applied to the original weights they give the current
    /// bases bit for bit.
    pub fn settled(&self) -> &[SettledBlock] {
        &self.settled
    }

    /// Every block of the run after `step` steps, in order: those settled, and those in training as
    /// they would be settled now. Applied to the original weights they give the merged ones bit for
    /// bit.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if training diverged, [`Error::ParameterGone`] if `params` are those of
    /// another model.
    pub fn blocks(&self, step: usize, params: &Params) -> Result<Vec<SettledBlock>, Error> {
        let mut blocks = self.settled.clone();
        blocks.extend(self.open_blocks(step, params)?);
        Ok(blocks)
    }

    fn open_blocks(&self, step: usize, params: &Params) -> Result<Vec<SettledBlock>, Error> {
        let block = |target: &LosiaTarget| {
            let delta = target.matrix(params, target.delta)?;
            target.block(step.saturating_sub(1), params, delta, self.config.journal)
        };
        self.targets.iter().map(block).collect()
    }

    /// Learning rate of the subnets in `slot` at `step`.
    pub fn slot_learning_rate(&self, step: usize, slot: usize) -> f64 {
        let restart = self.slots.latest_restart(step, slot);
        self.config.learning_rate * self.schedule.multiplier(step, restart)
    }

    /// Number of slots in a cycle.
    pub fn slot_count(&self) -> usize {
        self.slots.count
    }

    /// The block after one optimizer step.
    fn stepped(
        &mut self,
        step: usize,
        index: usize,
        params: &Params,
        grad: Tensor<2>,
    ) -> Result<Tensor<2>, Error> {
        let config = &self.config;
        let adam = Adam {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: Epsilon::BeforeCorrection(config.eps),
        };
        let lr = self.slot_learning_rate(step, self.targets[index].slot);
        let target = &mut self.targets[index];
        let restart = self.slots.latest_restart(step, target.slot);
        let since = if config.reset_step_count { restart } else { 0 };
        let grad = grad.mul_scalar(config.scale);
        let (update, moments) = adam.update(target.moments.take(), grad, lr, step + 1 - since);
        target.moments = Some(moments);
        let delta = target.matrix(params, target.delta)?.sub(update);
        if config.weight_decay == 0.0 {
            return Ok(delta);
        }
        // Decoupled decay of the effective entries, base + Δ, expressed as a change of Δ.
        let effective = target.base_block(params)?.add(delta.clone());
        Ok(delta.sub(effective.mul_scalar(lr * config.weight_decay)))
    }
}

impl Method for Losia {
    fn name(&self) -> &'static str {
        match self.config.pro {
            true => "losia-pro",
            false => "losia",
        }
    }

    fn total_steps(&self) -> Option<usize> {
        Some(self.config.total_steps)
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments, Error> {
        let selected = self.select(catalogue)?;
        self.check_first_subnets(&selected)?;
        let count = selected.iter().map(|(_, slot)| slot + 1).max().unwrap_or(1);
        self.slots = self.config.slots(count);
        self.schedule = self.config.schedule(&self.slots);
        self.targets.clear(); // an outline may have been made with it
        let mut attachments = Attachments::default();
        for (param, slot) in selected {
            let shape = [param.shape[0], param.shape[1]];
            let subnet = self.first_subnet(param, shape)?;
            let block = SubnetDelta::new(&subnet, shape, self.config.pro, &param.device);
            self.targets.push(LosiaTarget::new(param, slot, &block, subnet, shape));
            if self.slots.localizes(0, slot) {
                attachments.tracked.push(param.id);
            }
            attachments.adapters.push((param.id, Adapter::Subnet(block)));
        }
        Ok(attachments)
    }

    fn observe(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Option<Tensor<1>>, Error> {
        for index in 0..self.targets.len() {
            let LosiaTarget { base, slot, .. } = self.targets[index];
            let Some(grad) = grads.remove::<2>(base) else { continue };
            if self.slots.localizes(step, slot) {
                self.record_importance(step, index, grad, params)?;
            }
        }
        Ok(None)
    }

    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for index in 0..self.targets.len() {
            let LosiaTarget { delta: id, base, slot, .. } = self.targets[index];
            let delta = match grads.remove::<2>(id) {
                Some(grad) => self.stepped(step, index, params, grad)?,
                None => self.targets[index].matrix(params, id)?, // not part of this forward pass
            };
            match self.slots.relocalizes(step, slot) {
                true => self.relocalize(step, index, params, delta, &mut plan)?,
                false => plan.set(id, delta),
            }
            let tracked = self.slots.localizes(step + 1, slot);
            if tracked != self.slots.localizes(step, slot) {
                plan.track(base, tracked);
            }
        }
        Ok(plan)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        (0..self.slots.count).map(|slot| self.slot_learning_rate(step, slot)).fold(0.0, f64::max)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for (target, block) in self.targets.iter().zip(self.open_blocks(step, params)?) {
            target.settle(&block, params, &mut plan)?;
        }
        Ok(plan)
    }

    fn detach(&self, params: &Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for target in &self.targets {
            target.clear(params, &mut plan)?;
            let mut own = self.settled.iter().rev().filter(|block| block.path == target.path);
            let base = target.matrix(params, target.base)?;
            plan.set(target.base, own.try_fold(base, |weight, block| block.undo(weight))?);
        }
        Ok(plan)
    }

    fn export(&self, step: usize, params: &Params) -> Result<Option<AdapterFile>, Error> {
        Ok(Some(AdapterFile::Losia(SettledBlocks(self.blocks(step, params)?))))
    }

    fn record(&self, params: &Params) -> Result<Record, Error> {
        self.to_record(params)
    }

    fn restore(&mut self, step: usize, record: &Record, params: &Params) -> Result<Plan, Error> {
        self.restore_record(step, record, params)
    }
}
