//! A small run that the tests of resuming and of being killed share.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use burn::module::Param;
use burn::tensor::Tensor;
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::{Method, Place, TunerConfig, VisitFloat, visit_floats};
use burn_peft::llama::{CausalLm, Checkpoint};
use burn_peft::train::data::Sample;
use burn_peft::train::run::{BaseIdentity, RunPlan, TrainConfig};
pub use peft_testing::bit_exact_device as device;
use serde_json::Value;

pub const SAMPLES: usize = 22;
/// Steps of a slot.
pub const PERIOD: usize = 3;
const BASE: &str = "tests/cases/llama_tiny";

/// Made-up sequences of different lengths, half of each masked out of the loss. No token is above
/// 126.
pub fn samples() -> Vec<Sample> {
    let sample = |index: usize| {
        let ids = (0..6 + index % 5).map(|at| ((index * 31 + at * at * 7) % 127) as u32);
        let input_ids: Vec<u32> = ids.collect();
        let label = |(at, &id): (usize, &u32)| if at < 3 { -100 } else { i64::from(id) };
        let labels = input_ids.iter().enumerate().map(label).collect();
        Sample::new(input_ids, labels)
    };
    (0..SAMPLES).map(sample).collect()
}

pub fn checkpoint() -> Checkpoint {
    Checkpoint::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(BASE)).unwrap()
}

pub fn model() -> CausalLm {
    checkpoint().load(&device(), None, |_| ()).unwrap().0
}

/// Six steps per epoch, the last of them of one batch.
pub fn train_config(epochs: usize) -> TrainConfig {
    let of = |n| NonZeroUsize::new(n).unwrap();
    TrainConfig {
        micro_batch_size: of(2),
        gradient_accumulation_steps: of(2),
        num_epochs: of(epochs),
        group_by_length: true,
        seed: 4,
        ..TrainConfig::default()
    }
}

/// LoSiA for a run of that many steps, and its configuration.
pub fn losia(total: usize, period: usize) -> (Box<dyn Method>, Value) {
    let losia = LosiaConfig::new(total)
        .with_period(period)
        .with_rank_factor(0.25)
        .with_learning_rate(2e-3)
        .with_output_head(Some("lm_head.weight".into()))
        .with_output_dim_factor(0.25)
        .with_weight_decay(0.01);
    let config = serde_json::to_value(&losia).unwrap();
    (Box::new(Losia::new(losia).unwrap()), config)
}

/// A run with accumulation, validation and densely trained norms.
pub fn plan<'a>(
    (method, method_config): (Box<dyn Method>, Value),
    config: TrainConfig,
    output_dir: &'a Path,
    resume_from: Option<&'a Path>,
) -> RunPlan<'a> {
    RunPlan {
        method,
        method_config,
        tuner_config: TunerConfig {
            modules_to_save: vec!["model.norm".into(), "input_layernorm".into()],
            ..TunerConfig::default()
        },
        config,
        devices: Vec::new(),
        train_samples: samples(),
        valid_samples: samples()[..3].to_vec(),
        base: Some(BaseIdentity::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join(BASE)).unwrap()),
        output_dir,
        resume_from,
    }
}

/// Bits of every weight.
pub fn bits(model: &CausalLm) -> BTreeMap<String, Vec<u32>> {
    struct Collect(BTreeMap<String, Vec<u32>>);
    impl VisitFloat for Collect {
        fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
            let bits = param.base().into_data().iter::<f32>().map(f32::to_bits).collect();
            self.0.insert(place.path(), bits);
        }
    }
    let mut collect = Collect(BTreeMap::new());
    visit_floats(model, &mut collect);
    collect.0
}
