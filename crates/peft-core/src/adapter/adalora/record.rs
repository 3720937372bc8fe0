//! AdaLoRA's state in a checkpoint.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::target::AdaLoraTarget;
use super::{AdaLora, RankImportance};
use crate::{Error, Importance, Params, Plan, Record};

#[derive(Serialize, Deserialize)]
struct Meta {
    /// Whether the last cut was made.
    allocated: bool,
    /// Triplets kept by the latest cut, by path of the weight.
    rank_pattern: Vec<(String, Vec<bool>)>,
}

impl AdaLora {
    pub(super) fn to_record(&self, params: &Params) -> Result<Record, Error> {
        let mut record = Record::default();
        for target in &self.targets {
            target.low_rank.record(params, &mut record)?;
            for (index, importance) in target.importance.iter().enumerate() {
                let [i, u] = target.entries(index);
                record.insert(i, importance.i.clone());
                record.insert(u, importance.u.clone());
            }
        }
        let pattern = self.rank_pattern().map(|(path, kept)| (path.to_string(), kept.to_vec()));
        record.describe(&Meta { allocated: self.allocated, rank_pattern: pattern.collect() })?;
        Ok(record)
    }

    pub(super) fn restore_record(
        &mut self,
        steps: usize,
        record: &Record,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let meta: Meta = record.description()?;
        self.allocated = meta.allocated;
        let compacted = meta.allocated && self.config.compact;
        let smoothed = self.config.importance == RankImportance::Smoothed;
        let gathered = smoothed && steps > 0 && !meta.allocated;
        let (found, expected) = (meta.rank_pattern.len(), self.targets.len());
        if found != expected {
            return Err(bad("meta.rank_pattern", format!("{found} weights, expected {expected}")));
        }
        for (target, (path, kept)) in self.targets.iter_mut().zip(meta.rank_pattern) {
            if path != target.low_rank.path || kept.len() != target.kept.len() {
                let (found, want) = (kept.len(), target.kept.len());
                let expected = format!("`{}` with {want}", target.low_rank.path);
                let problem = format!("`{path}` with {found} ranks, expected {expected}");
                return Err(bad("meta.rank_pattern", problem));
            }
            target.kept = kept;
            target.restore(compacted, record, params, plan)?;
            if gathered {
                target.restore_importance(record, params)?;
            }
        }
        Ok(())
    }
}

impl AdaLoraTarget {
    /// Names of smoothed importance and uncertainty of factor number `index`.
    fn entries(&self, index: usize) -> [String; 2] {
        let (path, field) = (&self.low_rank.path, self.low_rank.factors[index].field);
        ["importance", "uncertainty"].map(|name| format!("{path}.{field}.{name}"))
    }

    fn restore(
        &mut self,
        compacted: bool,
        record: &Record,
        params: &Params,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        if compacted {
            let rank = self.rank();
            self.low_rank.factors.iter_mut().for_each(|factor| factor.set_rank(rank));
        }
        self.low_rank.restore(record, params, plan)
    }

    fn restore_importance(&mut self, record: &Record, params: &Params) -> Result<(), Error> {
        let device = params.require(self.low_rank.base, &self.low_rank.path)?.device();
        let tensor = |data| Tensor::<2>::from_data(data, (&device, DType::F32));
        let read = |index: usize| {
            let ([i, u], shape) = (self.entries(index), &self.low_rank.factors[index].shape);
            let (i, u) = (record.require(&i, shape)?, record.require(&u, shape)?);
            Ok(Importance { i: tensor(i), u: tensor(u) })
        };
        let importance: Result<_, Error> = (0..self.low_rank.factors.len()).map(read).collect();
        self.importance = importance?;
        Ok(())
    }
}

fn bad(entry: &str, problem: String) -> Error {
    Error::Record { entry: entry.into(), problem }
}
