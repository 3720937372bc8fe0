//! One decoder layer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::cache::LayerCache;
use super::decoder::Pass;
use super::{Attention, Mlp, RmsNorm};
use crate::LlamaConfig;

/// Attention and MLP, each on the normalised residual stream and added to it.
#[derive(Module, Debug)]
pub struct Layer {
    /// Attention.
    pub self_attn: Attention,
    /// MLP.
    pub mlp: Mlp,
    /// Norm before the attention.
    pub input_layernorm: RmsNorm,
    /// Norm before the MLP.
    pub post_attention_layernorm: RmsNorm,
}

impl Layer {
    pub(super) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let norm = || RmsNorm::new(config.hidden_size, config.rms_norm_eps, device);
        Self {
            self_attn: Attention::new(config, device),
            mlp: Mlp::new(config, device),
            input_layernorm: norm(),
            post_attention_layernorm: norm(),
        }
    }

    /// `x` `[batch * seq, hidden]`.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<2> {
        let x = x.clone() + self.self_attn.forward(self.input_layernorm.forward(x), pass, cache);
        x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x))
    }
}
