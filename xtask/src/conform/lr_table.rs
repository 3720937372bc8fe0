//! Kind `lr_table`: learning-rate multipliers.

use peft_core::schedule::{DenseSchedule, LrScheduler, SubnetSchedule};
use serde::Deserialize;

use super::{Case, CaseError, Comparison};

#[derive(Deserialize)]
struct Tables {
    tables: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    dense: bool,
    #[serde(default)]
    period: usize,
    #[serde(default)]
    total_id: usize,
    num_training_steps: usize,
    warmup_ratio: f64,
    warmup_steps: usize,
    min_lr_ratio: f64,
    /// Steps that are the first with a new subnet.
    #[serde(default)]
    restarts: Vec<usize>,
    cosine: Vec<f64>,
    cosine_restarts: Vec<f64>,
}

pub fn run(case: &Case) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    for (index, table) in case.json::<Tables>("table")?.tables.iter().enumerate() {
        let global =
            DenseSchedule::new(table.num_training_steps, table.warmup_ratio, table.min_lr_ratio);
        comparison.equal("warmup_steps", global.warmup_steps, table.warmup_steps);
        for (scheduler, wanted) in [
            (LrScheduler::Cosine, &table.cosine),
            (LrScheduler::CosineRestarts, &table.cosine_restarts),
        ] {
            for (step, want) in wanted.iter().enumerate() {
                let got = table.multiplier(scheduler, global, step);
                let what = format!("table {index} {scheduler:?} step {step}");
                comparison.error(case, "multiplier", &what, (got - want).abs())?;
            }
        }
    }
    Ok(comparison)
}

impl Table {
    fn multiplier(&self, scheduler: LrScheduler, global: DenseSchedule, step: usize) -> f64 {
        if self.dense {
            return global.multiplier(step);
        }
        let restart = self.restarts.iter().copied().rfind(|&restart| restart <= step);
        let (period, cycle) = (self.period, self.period * self.total_id);
        SubnetSchedule { scheduler, period, cycle, global }.multiplier(step, restart.unwrap_or(0))
    }
}
