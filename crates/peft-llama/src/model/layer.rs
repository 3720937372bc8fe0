//! One decoder layer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::cache::LayerCache;
use super::decoder::Pass;
use super::{Attention, Mlp, RmsNorm};
use crate::{DecoderConfig, ModelType};

/// Attention and MLP, each on the normalised residual stream and added to it. Gemma 2 normalises
/// what they give, too.
#[derive(Module, Debug)]
pub struct Layer {
    /// Attention.
    pub self_attn: Attention,
    /// MLP.
    pub mlp: Mlp,
    /// Norm before the attention.
    pub input_layernorm: RmsNorm,
    /// Norm before the MLP; in Gemma 2, of what the attention gave.
    pub post_attention_layernorm: RmsNorm,
    /// Norm before the MLP in Gemma 2.
    pub pre_feedforward_layernorm: Option<RmsNorm>,
    /// Norm of what the MLP gave in Gemma 2.
    pub post_feedforward_layernorm: Option<RmsNorm>,
}

impl Layer {
    /// The layer at `index` of the decoder.
    pub(super) fn new(config: &DecoderConfig, index: usize, device: &Device) -> Self {
        let norm = || RmsNorm::new(config, device);
        let four_norms = config.model_type == ModelType::Gemma2;
        Self {
            self_attn: Attention::new(config, config.window(index), device),
            mlp: Mlp::new(config, device),
            input_layernorm: norm(),
            post_attention_layernorm: norm(),
            pre_feedforward_layernorm: four_norms.then(norm),
            post_feedforward_layernorm: four_norms.then(norm),
        }
    }

    /// `x` `[batch * seq, hidden]`.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<2> {
        let input = self.input_layernorm.forward(x.clone());
        let attended = self.self_attn.forward(input, pass, cache); // [batch * seq, hidden]
        let feedforward_norms = (&self.pre_feedforward_layernorm, &self.post_feedforward_layernorm);
        if let (Some(pre), Some(post)) = feedforward_norms {
            let x = x + self.post_attention_layernorm.forward(attended);
            x.clone() + post.forward(self.mlp.forward(pre.forward(x)))
        } else {
            let x = x + attended;
            x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x))
        }
    }
}
