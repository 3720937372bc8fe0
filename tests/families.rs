//! Every method on every family of decoders: it trains, and the merged model says the same.

use std::path::Path;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Int, Tensor};
use burn_peft::core::adapter::adalora::{AdaLora, AdaLoraConfig};
use burn_peft::core::adapter::full::Full;
use burn_peft::core::adapter::lora::{Lora, LoraConfig, LoraInit};
use burn_peft::core::adapter::losia::{Losia, LosiaConfig};
use burn_peft::core::schedule::DenseSchedule;
use burn_peft::core::{Method, Tuner, TunerConfig};
use burn_peft::llama::{CausalLm, Checkpoint, cross_entropy_sum};
use peft_testing::device;

const STEPS: usize = 12;

fn model(case: &str) -> CausalLm {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case);
    Checkpoint::open(dir).unwrap().load(&device(), None, |_| ()).unwrap().0.train()
}

fn methods(head: &str) -> Vec<Box<dyn Method>> {
    let losia = |pro: bool| {
        let config = LosiaConfig::new(STEPS)
            .with_pro(pro)
            .with_period(2)
            .with_learning_rate(1e-2)
            .with_output_head(Some(head.into()))
            .with_output_dim_factor(0.25);
        Losia::new(config).unwrap()
    };
    let lora = LoraConfig::new(STEPS).with_learning_rate(1e-2).with_output_head(Some(head.into()));
    let adalora = AdaLoraConfig::new(STEPS)
        .with_init_r(6)
        .with_target_r(3)
        .with_tfinal(4)
        .with_lora_alpha(16.0)
        .with_learning_rate(2e-2);
    let schedule = DenseSchedule::new(STEPS, 0.1, 0.1);
    vec![
        Box::new(losia(true)),
        Box::new(losia(false)),
        Box::new(Lora::new(lora.clone()).unwrap()),
        Box::new(Lora::new(lora.clone().with_use_dora(true)).unwrap()),
        Box::new(Lora::new(lora.with_init_lora_weights(LoraInit::PissaNiter(4))).unwrap()),
        Box::new(AdaLora::new(adalora).unwrap()),
        Box::new(Full { learning_rate: 2e-3, schedule, target_modules: None }),
    ]
}

fn loss(model: &CausalLm, ids: &Tensor<2, Int>) -> Tensor<1> {
    let (sum, count) = cross_entropy_sum(model.forward(ids.clone(), None), ids.clone());
    sum / count.float()
}

#[test]
fn every_method_trains_every_family() {
    let device = device().autodiff();
    let ids = Tensor::<1, Int>::arange(0..48, &device).remainder_scalar(37).reshape([2, 24]);
    for case in ["llama_tiny", "gemma_tiny", "gemma2_tiny"] {
        let base = model(case);
        for method in methods(base.output_head_name()) {
            let what = format!("{} on {case}", method.name());
            let (mut tuner, mut model) =
                Tuner::attach(method, TunerConfig::default(), base.clone()).unwrap();
            let mut optim = AdamConfig::new().init();
            let before = loss(&model, &ids).into_scalar::<f32>();
            for _ in 0..STEPS {
                let grads = GradientsParams::from_grads(loss(&model, &ids).backward(), &model);
                (model, _) = tuner.step(model, &mut optim, grads).unwrap();
            }
            let after = loss(&model, &ids).into_scalar::<f32>();
            assert!(after < 0.9 * before, "{what}: {before} to {after}");
            let merged = loss(&tuner.merge(model).unwrap(), &ids).into_scalar::<f32>();
            assert!((merged - after).abs() < 1e-4, "{what}: {after}, merged {merged}");
        }
    }
}
