//! The gated MLP.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{gelu_approximate, silu};
use burn::tensor::{Device, Tensor};
use peft_core::hook;

use super::projection;
use crate::DecoderConfig;

/// `down_proj(act(gate_proj(x)) * up_proj(x))`, where `act` is the SiLU in LLaMA and the GELU in
/// its tanh form in Gemma.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[hidden_size, intermediate_size]`
    pub gate_proj: Linear,
    /// `[hidden_size, intermediate_size]`
    pub up_proj: Linear,
    /// `[intermediate_size, hidden_size]`
    pub down_proj: Linear,
    /// Whether `act` is the GELU.
    pub gelu: bool,
}

impl Mlp {
    pub(super) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |d_in, d_out| projection::init(config, d_in, d_out, config.mlp_bias, device);
        Self {
            gate_proj: linear(hidden, inner),
            up_proj: linear(hidden, inner),
            down_proj: linear(inner, hidden),
            gelu: config.model_type.is_gemma(),
        }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = hook::linear(&self.gate_proj, x.clone()); // [tokens, intermediate]
        let gate = if self.gelu { gelu_approximate(gate) } else { silu(gate) };
        let up = hook::linear(&self.up_proj, x); // [tokens, intermediate]
        hook::linear(&self.down_proj, gate * up) // [tokens, hidden]
    }
}
