//! The same bits, wherever a run goes on from.

use std::path::Path;

use burn_peft::core::Method;
use burn_peft::core::adapter::lora::{Lora, LoraConfig, LoraInit};
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::train::data::pack;
use burn_peft::train::report::RunStatus;
use burn_peft::train::run::RunPlan;
use serde_json::Value;

use crate::support::{PERIOD, bits, model, plan, train_config};
use crate::{
    Make, STEPS, adalora_with_dropout, checkpoint, dora_with_dropout, full, launch, losia, only,
    planned, turn,
};

type Planned<'a> = &'a dyn for<'b> Fn(&'b Path, Option<&'b Path>) -> RunPlan<'b>;

/// Weights after the whole run are those after a resume from each of `steps`.
fn resumes_at(steps: &[usize], planned: Planned) {
    let whole = tempfile::tempdir().unwrap();
    let mut plan = planned(whole.path(), None);
    plan.config.save_steps = std::num::NonZeroUsize::new(1);
    let finished = launch(plan).unwrap();
    assert_eq!(finished.status, RunStatus::Completed);
    let want = bits(&finished.model.unwrap());
    assert_ne!(want, bits(&model()), "training must change something");
    for &at in steps {
        let out = tempfile::tempdir().unwrap();
        let from = checkpoint(whole.path(), at);
        let resumed = launch(planned(out.path(), Some(&from))).unwrap();
        assert_eq!(resumed.steps, finished.steps);
        let got = bits(&resumed.model.unwrap());
        for (name, want) in &want {
            assert_eq!(&got[name], want, "{name} after a resume at {at}");
        }
    }
}

/// 18 steps of three epochs of 6: in the middle of a slot and of an epoch, at the end of a slot, at
/// the end of an epoch, before and after AdaLoRA's last cut, one step before the end, and after it.
#[test]
fn resuming_anywhere_gives_the_same_bits() {
    let _turn = turn();
    for make in [&losia as Make, &dora_with_dropout, &adalora_with_dropout] {
        resumes_at(&[4, 9, 12, 17, STEPS], &|out, resume| planned(make, out, resume));
    }
}

fn generic_losia(total: usize) -> (Box<dyn Method>, Value) {
    let losia = LosiaConfig::new(total)
        .with_period(PERIOD)
        .with_rank_factor(0.25)
        .with_learning_rate(2e-3)
        .with_pro(false);
    let config = serde_json::to_value(&losia).unwrap();
    (Box::new(Losia::new(losia).unwrap()), config)
}

fn lora(total: usize) -> (Box<dyn Method>, Value) {
    low_rank(LoraConfig::new(total).with_use_rslora(true).with_loraplus_lr_ratio(4.0))
}

fn pissa(total: usize) -> (Box<dyn Method>, Value) {
    low_rank(LoraConfig::new(total).with_r(4).with_init_lora_weights(LoraInit::Pissa))
}

fn low_rank(lora: LoraConfig) -> (Box<dyn Method>, Value) {
    let lora = lora.with_learning_rate(5e-3);
    let config = serde_json::to_value(&lora).unwrap();
    (Box::new(Lora::new(lora).unwrap()), config)
}

/// Rows of several documents, two of them in a batch, two batches in a step, three steps in an epoch,
/// with validation and weight decay.
fn packed<'a>(make: Make, out: &'a Path, resume: Option<&'a Path>) -> RunPlan<'a> {
    let mut config = train_config(3);
    config.weight_decay = 0.1;
    let samples = pack(crate::support::samples(), 16, config.seed);
    assert!(samples.iter().any(|row| !row.document_starts.is_empty()));
    let total = config.total_steps(samples.len());
    assert_eq!((config.steps_per_epoch(samples.len()), total), (3, 9));
    let mut plan = plan(make(total), config, out, resume);
    plan.train_samples = samples;
    only(plan)
}

/// In the middle of an epoch, at its end, and one step before the run's.
#[test]
fn packed_samples_are_resumed_to_the_same_bits_by_every_method() {
    let _turn = turn();
    let low_rank: [Make; 4] = [&lora, &pissa, &dora_with_dropout, &adalora_with_dropout];
    for make in low_rank.into_iter().chain([&losia as Make, &generic_losia, &full]) {
        resumes_at(&[2, 3, 5, 8], &|out, resume| packed(make, out, resume));
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let _turn = turn();
    let [a, b] = [(); 2].map(|()| {
        let out = tempfile::tempdir().unwrap();
        bits(&launch(planned(&losia, out.path(), None)).unwrap().model.unwrap())
    });
    assert_eq!(a, b);
}
