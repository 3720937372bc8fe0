//! What this crate's unit tests share.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::TensorData;

pub use peft_testing::device;

/// The names of a small decoder: `embed`, `layers.0.q_proj`, `layers.0.norm`, …, `lm_head`.
#[derive(Module, Debug)]
pub struct Tiny {
    pub embed: Embedding,
    pub layers: Vec<TinyLayer>,
    pub lm_head: Linear,
}

#[derive(Module, Debug)]
pub struct TinyLayer {
    pub q_proj: Linear,
    pub freq_proj: Linear,
    pub norm: LayerNorm,
}

impl Tiny {
    /// Two layers on the test device with autodiff.
    pub fn new() -> Self {
        let device = &device().autodiff();
        let linear = |i, o| LinearConfig::new(i, o).with_bias(false).init(device);
        let layer = |_| TinyLayer {
            q_proj: LinearConfig::new(4, 6).init(device),
            freq_proj: linear(6, 4),
            norm: LayerNormConfig::new(4).init(device),
        };
        Self {
            embed: EmbeddingConfig::new(10, 4).init(device),
            layers: (0..2).map(layer).collect(),
            lm_head: linear(4, 10),
        }
    }
}

pub fn floats(data: &TensorData) -> Vec<f32> {
    data.iter::<f32>().collect()
}

pub fn bits(data: &TensorData) -> Vec<u32> {
    data.iter::<f32>().map(f32::to_bits).collect()
}
