//! Kind `lr_table`: learning-rate multipliers.

use peft_core::schedule::{DenseSchedule, LrScheduler, Slots, SubnetSchedule, UpdateType};
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
    #[serde(default)]
    layer_id: usize,
    num_training_steps: usize,
    warmup_ratio: f64,
    warmup_steps: usize,
    min_lr_ratio: f64,
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
                let got = table.multiplier(scheduler, global, step, &mut comparison);
                let what = format!("table {index} {scheduler:?} step {step}");
                comparison.error(case, "multiplier", &what, (got - want).abs())?;
            }
        }
    }
    Ok(comparison)
}

impl Table {
    fn multiplier(
        &self,
        scheduler: LrScheduler,
        global: DenseSchedule,
        step: usize,
        comparison: &mut Comparison,
    ) -> f64 {
        if self.dense {
            return global.multiplier(step);
        }
        let update_type = UpdateType::Asynchronous;
        let slots = Slots { period: self.period, count: self.total_id, update_type };
        let restart = slots.latest_restart(step, self.layer_id);
        let recorded = self.restarts.iter().copied().rfind(|&restart| restart <= step);
        comparison.equal("latest restart", restart, recorded.unwrap_or(0));
        SubnetSchedule { scheduler, period: self.period, cycle: slots.cycle(), global }
            .multiplier(step, restart)
    }
}
