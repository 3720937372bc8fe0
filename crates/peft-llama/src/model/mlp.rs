//! The gated MLP (SwiGLU).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use peft_core::hook;

use super::projection;
use crate::LlamaConfig;

/// `down_proj(silu(gate_proj(x)) * up_proj(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[hidden_size, intermediate_size]`
    pub gate_proj: Linear,
    /// `[hidden_size, intermediate_size]`
    pub up_proj: Linear,
    /// `[intermediate_size, hidden_size]`
    pub down_proj: Linear,
}

impl Mlp {
    pub(super) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |d_in, d_out| projection::init(config, d_in, d_out, config.mlp_bias, device);
        Self {
            gate_proj: linear(hidden, inner),
            up_proj: linear(hidden, inner),
            down_proj: linear(inner, hidden),
        }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = silu(hook::linear(&self.gate_proj, x.clone())); // [tokens, intermediate]
        let up = hook::linear(&self.up_proj, x); // [tokens, intermediate]
        hook::linear(&self.down_proj, gate * up) // [tokens, hidden]
    }
}
