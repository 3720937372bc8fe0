//! Fine-tunes a tiny LLaMA with LoSiA-Pro, as a project that imports burn-peft would.

use std::error::Error;

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::{Tuner, TunerConfig};
use peft_llama::{CausalLm, DecoderConfig, cross_entropy_sum};

/// What a run did to the mean loss on its one batch.
#[derive(Debug)]
pub struct Losses {
    pub before: f32,
    pub after: f32,
    /// With the adapters folded into the weights.
    pub merged: f32,
}

/// Takes `steps` steps on one batch, on the CPU.
pub fn fine_tune(steps: usize) -> Result<Losses, Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let model = DecoderConfig::parse(CONFIG, "config.json")?.init(&device);
    let method = Losia::new(
        LosiaConfig::new(steps)
            .with_rank_factor(0.5)
            .with_period(2)
            .with_learning_rate(0.02)
            .with_output_head(Some(model.output_head_name().into()))
            .with_output_dim_factor(0.5),
    )?;
    let (mut tuner, mut model) = Tuner::attach(method, TunerConfig::default(), model)?;
    let mut optim = AdamConfig::new().init();
    let ids = counting(&device);
    let before = mean_loss(&model, &ids).into_scalar();
    for _ in 0..steps {
        let loss = mean_loss(&model, &ids);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        (model, _) = tuner.step(model, &mut optim, grads)?;
    }
    let after = mean_loss(&model, &ids).into_scalar();
    let merged = mean_loss(&tuner.merge(model)?, &ids).into_scalar();
    Ok(Losses { before, after, merged })
}

const CONFIG: &str = r#"{
    "model_type": "llama",
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2
}"#;

/// `[4, 8]` ids that count up from different tokens, so that each follows from the one before.
fn counting(device: &Device) -> Tensor<2, Int> {
    let start = Tensor::<1, Int>::arange(0..4, device).unsqueeze_dim::<2>(1) * 4;
    let offset = Tensor::<1, Int>::arange(0..8, device).unsqueeze_dim::<2>(0);
    (start + offset).remainder_scalar(16)
}

fn mean_loss(model: &CausalLm, ids: &Tensor<2, Int>) -> Tensor<1> {
    let (sum, count) = cross_entropy_sum(model.forward(ids.clone(), None), ids.clone());
    sum / count.float()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_falls_and_merging_keeps_it() {
        let losses = fine_tune(40).expect("trains");
        assert!(losses.after < 0.5 * losses.before, "{losses:?}");
        assert!((losses.merged - losses.after).abs() < 1e-4, "{losses:?}");
    }
}
