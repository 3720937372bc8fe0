//! LoSiA's state in a checkpoint.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::method::Losia;
use super::target::LosiaTarget;
use crate::optimizer::Moments;
use crate::subnet::{SettledBlock, Subnet};
use crate::{Error, Importance, Params, Plan, Record};

#[derive(Serialize, Deserialize)]
struct Meta {
    subnets: Vec<(String, Subnet)>,
    settled: Vec<SettledMeta>,
}

#[derive(Serialize, Deserialize)]
struct SettledMeta {
    path: String,
    step: usize,
    subnet: Subnet,
}

impl Losia {
    pub(super) fn to_record(&self, params: &Params) -> Result<Record, Error> {
        let mut record = Record::default();
        for target in &self.targets {
            for (field, tensor) in target.tensors(params)? {
                record.insert(target.entry(field), tensor);
            }
        }
        for (index, block) in self.settled.iter().enumerate() {
            record.tensors.insert(settled_entry(index), block.delta.clone());
            if let Some(original) = &block.original {
                record.tensors.insert(original_entry(index), original.clone());
            }
        }
        let subnets = self.targets.iter().map(|t| (t.path.clone(), t.subnet.clone())).collect();
        let settled = self.settled.iter().map(|block| SettledMeta {
            path: block.path.clone(),
            step: block.step,
            subnet: block.subnet.clone(),
        });
        let meta = Meta { subnets, settled: settled.collect() };
        record.describe(&meta)?;
        Ok(record)
    }

    pub(super) fn restore_record(
        &mut self,
        step: usize,
        record: &Record,
        params: &Params,
    ) -> Result<Plan, Error> {
        let meta: Meta = record.description()?;
        if meta.subnets.len() != self.targets.len() {
            let (found, expected) = (meta.subnets.len(), self.targets.len());
            return Err(bad("meta.subnets", format!("{found} weights, expected {expected}")));
        }
        self.settled = self.read_settled(meta.settled, record)?;
        let mut plan = Plan::default();
        for (target, (path, subnet)) in self.targets.iter_mut().zip(meta.subnets) {
            if path != target.path {
                return Err(bad("meta.subnets", format!("`{path}`, expected `{}`", target.path)));
            }
            target.restore(subnet, record, &self.settled, params, &mut plan)?;
            plan.track(target.base, self.slots.localizes(step, target.slot));
        }
        Ok(plan)
    }

    fn read_settled(
        &self,
        meta: Vec<SettledMeta>,
        record: &Record,
    ) -> Result<Vec<SettledBlock>, Error> {
        let read = |(index, SettledMeta { path, step, subnet })| {
            let entry = settled_entry(index);
            let target = self.targets.iter().find(|target| target.path == path);
            let shape = target.ok_or_else(|| bad(&entry, format!("`{path}` has no subnet")))?.shape;
            let subnet: Subnet = subnet.checked(shape).map_err(|e| bad(&entry, e))?;
            let delta = record.require(&entry, &subnet.size())?;
            let original = record.get(&original_entry(index), &subnet.size())?;
            Ok(SettledBlock { path, step, subnet, delta, original })
        };
        meta.into_iter().enumerate().map(read).collect()
    }
}

impl LosiaTarget {
    fn entry(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    fn tensors(&self, params: &Params) -> Result<Vec<(&'static str, Tensor<2>)>, Error> {
        let mut tensors = vec![("delta", self.matrix(params, self.delta)?)];
        if let Some(Moments { first, second }) = &self.moments {
            tensors.extend([("exp_avg", first.clone()), ("exp_avg_sq", second.clone())]);
        }
        if let Some(Importance { i, u }) = &self.importance {
            tensors.extend([("importance", i.clone()), ("uncertainty", u.clone())]);
        }
        Ok(tensors)
    }

    fn restore(
        &mut self,
        subnet: Subnet,
        record: &Record,
        settled: &[SettledBlock],
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let (found, expected) = (subnet.size(), self.size);
        if found != expected {
            return Err(bad(&self.path, format!("a subnet of {found:?}, expected {expected:?}")));
        }
        self.subnet = subnet.checked(self.shape).map_err(|e| bad(&self.path, e))?;
        let base = self.matrix(params, self.base)?;
        let device = base.device();
        let tensor = |data| Tensor::<2>::from_data(data, (&device, DType::F32));
        let [rows, cols] = self.subnet.to_tensors(&device);
        plan.set_int(self.rows, rows);
        plan.set_int(self.cols, cols);
        plan.set(self.delta, tensor(record.require(&self.entry("delta"), &self.size)?));
        let pair = |a: &str, b: &str, shape: &[usize]| {
            let (a, b) = (record.get(&self.entry(a), shape)?, record.get(&self.entry(b), shape)?);
            Ok::<_, Error>(a.zip(b).map(|(a, b)| (tensor(a), tensor(b))))
        };
        let moments = pair("exp_avg", "exp_avg_sq", &self.size)?;
        let importance = pair("importance", "uncertainty", &self.shape)?;
        self.moments = moments.map(|(first, second)| Moments { first, second });
        self.importance = importance.map(|(i, u)| Importance { i, u });
        let own = || settled.iter().filter(|block| block.path == self.path);
        if own().next().is_some() {
            plan.set(self.base, own().try_fold(base, |weight, block| block.apply(weight))?);
        }
        Ok(())
    }
}

fn settled_entry(index: usize) -> String {
    format!("settled.{index:06}")
}

fn original_entry(index: usize) -> String {
    format!("{}.original", settled_entry(index))
}

fn bad(entry: &str, problem: impl ToString) -> Error {
    Error::Record { entry: entry.into(), problem: problem.to_string() }
}
