//! The decisions of LoSiA: whose importance to gather, how to update blocks, when to move them.

use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::adam::BlockAdam;
use super::target::{LosiaTarget, Relocalization};
use super::{LosiaConfig, SubnetDelta};
use crate::adapter::Adapter;
use crate::method::{Attachments, Event, Method, Params};
use crate::schedule::{Slots, SubnetSchedule};
use crate::subnet::{SettledBlock, Subnet, gather, localize, settle, subnet_size};
use crate::{Catalogue, Error, Importance, ParamInfo, Plan, Record};

/// LoSiA, or LoSiA-Pro where the configuration says so.
#[derive(Debug)]
pub struct Losia {
    pub(super) config: LosiaConfig,
    pub(super) slots: Slots,
    pub(super) schedule: SubnetSchedule,
    pub(super) targets: Vec<LosiaTarget>,
    pub(super) settled: Vec<SettledBlock>,
    first_subnets: Vec<(String, Subnet)>,
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

    /// Learning rate of the subnets in `slot` at `step`.
    pub fn slot_learning_rate(&self, step: usize, slot: usize) -> f64 {
        let restart = self.slots.latest_restart(step, slot);
        self.config.learning_rate * self.schedule.multiplier(step, restart)
    }

    /// Number of slots in a cycle.
    pub fn slot_count(&self) -> usize {
        self.slots.count
    }

    /// Targets and their slots: the head first, if it has a subnet, then layer by layer.
    fn select<'a>(&self, catalogue: &'a Catalogue) -> Result<Vec<(&'a ParamInfo, usize)>, Error> {
        let head_path = self.config.output_head.as_deref();
        let layers = self.config.target_modules.select(catalogue, head_path)?;
        let mut selected = Vec::new();
        if self.config.output_dim_factor > 0.0 {
            let path = head_path.unwrap_or_default();
            let head = catalogue.params().iter().find(|p| p.path == path && p.shape.len() == 2);
            let head = head.ok_or_else(|| Error::NoMatch {
                key: "output_head",
                pattern: format!("{path:?}"),
                available: catalogue.params().iter().map(|p| p.path.clone()).collect(),
            })?;
            selected.push((head, 0));
        }
        let first_slot = selected.len();
        let mut keys: Vec<&str> = Vec::new();
        for param in layers {
            let key = layer_key(param.module_path());
            let slot = keys.iter().position(|&k| k == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
            selected.push((param, first_slot + slot));
        }
        Ok(selected)
    }

    fn size(&self, param: &ParamInfo, shape: [usize; 2]) -> [usize; 2] {
        let is_head = self.config.output_head.as_ref() == Some(&param.path);
        let (p, vocab) = (self.config.rank_factor, self.config.output_dim_factor);
        match (is_head, param.is_linear_weight()) {
            (false, _) => shape.map(|dim| subnet_size(p, dim)),
            (true, true) => [shape[0], subnet_size(vocab, shape[1])],
            (true, false) => [subnet_size(vocab, shape[0]), shape[1]], // a tied embedding
        }
    }

    fn first_subnet(
        &self,
        path: &str,
        shape: [usize; 2],
        size: [usize; 2],
    ) -> Result<Subnet, Error> {
        match self.first_subnets.iter().find(|(given, _)| given == path) {
            Some((_, subnet)) => Subnet::new(subnet.rows().to_vec(), subnet.cols().to_vec(), shape),
            None => Ok(Subnet::random(shape, size, &mut path_rng(self.config.seed, path))),
        }
    }

    fn record_importance(
        &mut self,
        step: usize,
        index: usize,
        grad: Tensor<2>,
        params: &dyn Params,
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

    /// The block after one optimizer step.
    fn stepped(
        &mut self,
        step: usize,
        index: usize,
        params: &dyn Params,
        grad: Tensor<2>,
    ) -> Result<Tensor<2>, Error> {
        let config = &self.config;
        let adam = BlockAdam { beta1: config.beta1, beta2: config.beta2, eps: config.eps };
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

    /// Settles the block and starts a new one where the importance is.
    fn relocalize(
        &mut self,
        step: usize,
        index: usize,
        params: &dyn Params,
        delta: Tensor<2>,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let target = &mut self.targets[index];
        self.settled.push(target.settle(step, params, delta, plan)?);
        target.moments = None;
        let (importance, grad) = (target.importance.take(), target.dense_grad.take());
        let Some((importance, grad)) = importance.zip(grad) else { return Ok(()) };
        let score = importance.score();
        let found = localize(&score, target.size);
        if let Some(found) = &found {
            target.subnet = found.subnet.clone();
        }
        let [rows, cols] = target.subnet.to_tensors(&score.device());
        plan.set_int(target.rows, rows.clone());
        plan.set_int(target.cols, cols.clone());
        plan.report(Event::Relocalization(Relocalization {
            path: target.path.clone(),
            strategy: found.as_ref().map(|found| found.strategy),
            score_share: found.as_ref().map_or(f64::NAN, |f| f.score_sum / f.score_total),
            gradient_share: squared_share(grad, rows, cols),
            subnet: target.subnet.clone(),
            score,
            score_sum: found.as_ref().map_or(f64::NAN, |found| found.score_sum),
        }));
        Ok(())
    }
}

impl Method for Losia {
    fn name(&self) -> &'static str {
        match self.config.pro {
            true => "losia-pro",
            false => "losia",
        }
    }

    fn attach(&mut self, catalogue: &Catalogue, params: &dyn Params) -> Result<Attachments, Error> {
        let selected = self.select(catalogue)?;
        let count = selected.iter().map(|(_, slot)| slot + 1).max().unwrap_or(1);
        self.slots = self.config.slots(count);
        self.schedule = self.config.schedule(&self.slots);
        let mut attachments = Attachments::default();
        for (param, slot) in selected {
            let shape = [param.shape[0], param.shape[1]];
            let size = self.size(param, shape);
            let subnet = self.first_subnet(&param.path, shape, size)?;
            let gone = || Error::ParameterGone { path: param.path.clone() };
            let device = params.matrix(param.id).ok_or_else(gone)?.device();
            let block = SubnetDelta::new(&subnet, shape, self.config.pro, &device);
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
        params: &dyn Params,
        grads: &mut GradientsParams,
    ) -> Result<(), Error> {
        for index in 0..self.targets.len() {
            let (base, slot) = (self.targets[index].base, self.targets[index].slot);
            let Some(grad) = grads.remove::<2>(base) else { continue };
            if self.slots.localizes(step, slot) {
                self.record_importance(step, index, grad, params)?;
            }
        }
        Ok(())
    }

    fn update(
        &mut self,
        step: usize,
        params: &dyn Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for index in 0..self.targets.len() {
            let (id, base, slot) = {
                let target = &self.targets[index];
                (target.delta, target.base, target.slot)
            };
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

    fn settle(&mut self, step: usize, params: &dyn Params) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for target in &mut self.targets {
            let delta = target.matrix(params, target.delta)?;
            self.settled.push(target.settle(step.saturating_sub(1), params, delta, &mut plan)?);
            target.moments = None;
        }
        Ok(plan)
    }

    fn record(&self, params: &dyn Params) -> Result<Record, Error> {
        self.to_record(params)
    }

    fn restore(
        &mut self,
        step: usize,
        record: &Record,
        params: &dyn Params,
    ) -> Result<Plan, Error> {
        self.restore_record(step, record, params)
    }
}

impl LosiaTarget {
    fn new(
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

    pub(super) fn matrix(
        &self,
        params: &dyn Params,
        id: burn::module::ParamId,
    ) -> Result<Tensor<2>, Error> {
        params.matrix(id).ok_or_else(|| Error::ParameterGone { path: self.path.clone() })
    }

    /// Base + Δ, f32.
    fn effective_weight(&self, params: &dyn Params) -> Result<Tensor<2>, Error> {
        let weight = self.matrix(params, self.base)?.cast(FloatDType::F32);
        let [rows, cols] = self.subnet.to_tensors(&weight.device());
        Ok(settle(weight, rows, cols, self.matrix(params, self.delta)?))
    }

    /// The base's entries in the subnet, f32.
    fn base_block(&self, params: &dyn Params) -> Result<Tensor<2>, Error> {
        let weight = self.matrix(params, self.base)?;
        let [rows, cols] = self.subnet.to_tensors(&weight.device());
        Ok(gather(weight, rows, cols).cast(FloatDType::F32))
    }

    /// Plans the block into the base and a zero block in its place.
    fn settle(
        &self,
        step: usize,
        params: &dyn Params,
        delta: Tensor<2>,
        plan: &mut Plan,
    ) -> Result<SettledBlock, Error> {
        let block = SettledBlock {
            path: self.path.clone(),
            step,
            subnet: self.subnet.clone(),
            delta: delta.clone().into_data(),
        };
        plan.set(self.delta, delta.zeros_like());
        plan.set(self.base, block.apply(self.matrix(params, self.base)?));
        Ok(block)
    }
}

/// What groups weights into a layer: the path up to its first number, or the whole path if it has
/// none.
fn layer_key(path: &str) -> &str {
    let mut end = 0;
    for segment in path.split('.') {
        end += segment.len();
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            return &path[..end];
        }
        end += 1;
    }
    path
}

/// A generator of its own for each weight, so that a subnet does not depend on what else is
/// targeted.
fn path_rng(seed: u64, path: &str) -> ChaCha8Rng {
    // FNV-1a
    let stream = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn squared_share(
    grad: Tensor<2>,
    rows: Tensor<1, burn::tensor::Int>,
    cols: Tensor<1, burn::tensor::Int>,
) -> f64 {
    let square = |grad: Tensor<2>| {
        let grad = grad.cast(FloatDType::F32);
        f64::from(grad.clone().mul(grad).sum().into_scalar::<f32>())
    };
    square(gather(grad.clone(), rows, cols)) / square(grad)
}
