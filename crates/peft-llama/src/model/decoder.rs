//! Embedding, layers, final norm.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Bool, Device, Int, Tensor};
use peft_core::hook;

use super::rotary::Angles;
use super::{KvCache, Layer, RmsNorm, Rotary, mask, projection};
use crate::LlamaConfig;

/// The stack of layers between token ids and the output head.
///
/// Activations are `[batch * seq, hidden_size]` throughout, so that every linear layer is one
/// plain matrix product.
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: Embedding,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Norm after the last layer.
    pub norm: RmsNorm,
    /// Rotary position embedding of all layers; no parameter, and in no record.
    #[module(skip)]
    pub rotary: Rotary,
}

/// What all layers of one forward pass share.
pub(super) struct Pass {
    pub batch: usize,
    pub seq: usize,
    pub angles: Angles,
    /// Added to the scores, broadcast over `[batch, kv_heads, group, seq, keys]`.
    pub mask: Option<Tensor<5>>,
}

impl Decoder {
    pub(super) fn new(config: &LlamaConfig, device: &Device) -> Self {
        Self {
            embed_tokens: EmbeddingConfig::new(config.vocab_size, config.hidden_size)
                .with_initializer(projection::normal(config))
                .init(device),
            layers: (0..config.num_hidden_layers).map(|_| Layer::new(config, device)).collect(),
            norm: RmsNorm::new(config.hidden_size, config.rms_norm_eps, device),
            rotary: Rotary::new(config.rope.inv_freq(config.head_dim)),
        }
    }

    /// The residual stream after the final norm, `[batch * seq, hidden_size]`.
    pub(super) fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
    ) -> Tensor<2> {
        let (x, pass) = self.begin(input_ids, attention_mask);
        let x = self.layers.iter().fold(x, |x, layer| layer.forward(x, &pass, None));
        self.norm.forward(x)
    }

    /// See [`CausalLm::hidden_states`](super::CausalLm::hidden_states).
    pub(super) fn hidden_states(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
    ) -> Vec<Tensor<3>> {
        let (mut x, pass) = self.begin(input_ids, attention_mask);
        let mut states = Vec::with_capacity(self.layers.len() + 1);
        for layer in &self.layers {
            states.push(x.clone());
            x = layer.forward(x, &pass, None);
        }
        states.push(self.norm.forward(x));
        let width = states[0].dims()[1];
        states.into_iter().map(|x| x.reshape([pass.batch, pass.seq, width])).collect()
    }

    /// The residual stream `[batch, hidden_size]` after the last of `input_ids` `[batch, seq]`,
    /// which continue what `cache` holds.
    pub(super) fn step(&self, input_ids: Tensor<2, Int>, cache: &mut KvCache) -> Tensor<2> {
        let [batch, seq] = input_ids.dims();
        let x = self.embed(input_ids);
        let positions = cache.advance(seq);
        let real = cache.real_tokens(&x.device());
        let pass = self.pass([batch, seq], cache.len(), &positions, real, &x);
        cache.layers.resize_with(self.layers.len(), Default::default);
        let layers = self.layers.iter().zip(&mut cache.layers);
        let x = layers.fold(x, |x, (layer, cache)| layer.forward(x, &pass, Some(cache)));
        let width = x.dims()[1];
        let last = x.reshape([batch, seq, width]).narrow(1, seq - 1, 1); // [batch, 1, hidden]
        self.norm.forward(last.squeeze_dim(1))
    }

    /// Embeddings of whole sequences and what their layers share.
    fn begin(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
    ) -> (Tensor<2>, Pass) {
        let [batch, seq] = input_ids.dims();
        let x = self.embed(input_ids);
        let positions = [(0..seq).collect()];
        let pass = self.pass([batch, seq], seq, &positions, attention_mask, &x);
        (x, pass)
    }

    /// Rows of the embedding, `[batch * seq, hidden_size]`.
    fn embed(&self, input_ids: Tensor<2, Int>) -> Tensor<2> {
        hook::embedding(&self.embed_tokens, input_ids).flatten(0, 1)
    }

    /// What the layers share: `keys` counts cached tokens too, `real` `[batch, keys]` is true at
    /// tokens that are no padding, `x` gives device and type.
    fn pass(
        &self,
        [batch, seq]: [usize; 2],
        keys: usize,
        positions: &[Vec<usize>],
        real: Option<Tensor<2, Bool>>,
        x: &Tensor<2>,
    ) -> Pass {
        let device = x.device();
        let mask = mask::combine(mask::causal(seq, keys, &device), real.map(mask::padding));
        let angles = self.rotary.angles(positions, &device, x.dtype());
        Pass { batch, seq, angles, mask }
    }
}
