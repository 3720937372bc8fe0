//! Kind `budget_table`: AdaLoRA's rank budget, step by step.

use peft_core::schedule::BudgetSchedule;
use serde::Deserialize;

use super::{Case, CaseError, Comparison};

#[derive(Deserialize)]
struct Tables {
    tables: Vec<Table>,
}

#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the recorded keys are PEFT's")]
struct Table {
    init_r: usize,
    target_r: usize,
    n_modules: usize,
    tinit: usize,
    tfinal: usize,
    deltaT: usize,
    total_step: usize,
    budget: Vec<usize>,
    mask_due: Vec<u8>,
}

pub fn run(case: &Case) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    for (index, table) in case.json::<Tables>("table")?.tables.iter().enumerate() {
        let schedule = BudgetSchedule {
            initial: table.init_r * table.n_modules,
            target: table.target_r * table.n_modules,
            tinit: table.tinit,
            tfinal: table.tfinal,
            delta_t: table.deltaT,
            total_step: table.total_step,
        };
        for (step, (budget, due)) in table.budget.iter().zip(&table.mask_due).enumerate() {
            let what = format!("table {index} step {step}");
            comparison.equal(&what, schedule.budget(step), *budget);
            comparison.equal(&what, schedule.mask_due(step), *due == 1);
        }
    }
    Ok(comparison)
}
