//! Every method of this project.

use burn::optim::{AdamWConfig, GradientsParams};
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::adapter::lora::{Lora, LoraConfig, LoraInit};
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::schedule::{DenseSchedule, UpdateType};
use burn_peft::core::{Error, Method, Tuner, TunerConfig};

use crate::contestants::Training;
use crate::harness::{Contestant, Kind, Plan};
use crate::workload::Workload;

/// Share of rows and of columns in a subnet, `p`.
pub const RANK_FACTOR: f64 = 0.125;
pub const RANK: usize = 16;
pub const LEARNING_RATE: f64 = 1e-5;
/// Power iterations of PiSSA's decomposition, which is not measured.
const PISSA_ITERATIONS: usize = 4;

/// All methods, each on a model of its own.
pub fn all<M: Workload>(
    make: impl Fn() -> M,
    batch: &M::Batch,
    plan: &Plan,
) -> Result<Vec<Box<dyn Contestant>>, Error> {
    let schedule = DenseSchedule::new(plan.steps(), 0.0, 1.0);
    let full = Full { learning_rate: LEARNING_RATE, schedule, target_modules: None };
    let mut contestants = vec![attached(Kind::Full, Box::new(full), &[], make(), batch)?];
    for (kind, method) in low_rank::<M>(plan)?.into_iter().chain(losia::<M>(plan)?) {
        contestants.push(attached(kind, method, M::DENSE, make(), batch)?);
    }
    Ok(contestants)
}

type Methods = Vec<(Kind, Box<dyn Method>)>;

fn low_rank<M: Workload>(plan: &Plan) -> Result<Methods, Error> {
    let steps = plan.steps();
    let head = M::OUTPUT_HEAD.map(String::from);
    let lora = LoraConfig::new(steps)
        .with_output_head(head.clone())
        .with_r(RANK)
        .with_learning_rate(LEARNING_RATE);
    let dora = lora.clone().with_use_dora(true);
    let pissa = lora.clone().with_init_lora_weights(LoraInit::PissaNiter(PISSA_ITERATIONS));
    let adalora = AdaLoraConfig::new(2 * steps) // no cut within the measurement
        .with_output_head(head)
        .with_init_r(RANK)
        .with_target_r(RANK / 2)
        .with_tinit(2 * steps - 2)
        .with_learning_rate(LEARNING_RATE);
    Ok(vec![
        (Kind::Lora, Box::new(Lora::new(lora)?)),
        (Kind::Dora, Box::new(Lora::new(dora)?)),
        (Kind::Pissa, Box::new(Lora::new(pissa)?)),
        (Kind::AdaLora, Box::new(AdaLora::new(adalora)?)),
    ])
}

fn losia<M: Workload>(plan: &Plan) -> Result<Methods, Error> {
    let pro = LosiaConfig::new(plan.steps())
        .with_output_head(M::OUTPUT_HEAD.map(String::from))
        .with_rank_factor(RANK_FACTOR)
        .with_learning_rate(LEARNING_RATE)
        .with_period(plan.period());
    let plain = pro.clone().with_pro(false);
    let outside = pro.clone().with_update_type(UpdateType::Fixed);
    Ok(vec![
        (Kind::Losia, Box::new(Losia::new(plain)?)),
        (Kind::ProOutside, Box::new(Losia::new(outside)?)),
        (Kind::ProCycle, Box::new(Losia::new(pro)?)),
    ])
}

fn attached<M: Workload>(
    kind: Kind,
    method: Box<dyn Method>,
    dense: &[&str],
    model: M,
    batch: &M::Batch,
) -> Result<Box<dyn Contestant>, Error> {
    let modules_to_save = dense.iter().map(|path| path.to_string()).collect();
    let config = TunerConfig { modules_to_save, ..TunerConfig::default() };
    let (mut tuner, model) = Tuner::attach(method, config, model)?;
    let mut optim = AdamWConfig::new().init();
    let update = move |model: M, grads: GradientsParams| {
        let (model, report) = tuner.step(model, &mut optim, grads)?;
        Ok((model, !report.events.is_empty()))
    };
    Ok(Box::new(Training { kind, model: Some(model), batch: batch.clone(), update }))
}
