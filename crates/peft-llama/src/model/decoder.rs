//! Embedding, layers, final norm.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Bool, Device, Int, Tensor};
use peft_core::hook;

use super::documents::Documents;
use super::mask::{Hidden, Masks};
use super::rotary::Angles;
use super::{KvCache, Layer, RmsNorm, Rotary, projection};
use crate::DecoderConfig;

/// The stack of layers between token ids and the output head.
///
/// Activations are `[batch * seq, hidden_size]` throughout, so that every linear layer is one
/// plain matrix product.
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: Embedding,
    /// What embeddings are multiplied by, if by anything: √`hidden_size` in Gemma.
    pub embed_scale: Option<f64>,
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
    pub masks: Masks,
}

impl Decoder {
    pub(super) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let scale = (config.hidden_size as f64).sqrt();
        let layers = 0..config.num_hidden_layers;
        Self {
            embed_tokens: EmbeddingConfig::new(config.vocab_size, config.hidden_size)
                .with_initializer(projection::normal(config))
                .init(device),
            embed_scale: config.model_type.is_gemma().then_some(scale),
            layers: layers.map(|index| Layer::new(config, index, device)).collect(),
            norm: RmsNorm::new(config, device),
            rotary: Rotary::new(config.rope.inv_freq(config.head_dim)),
        }
    }

    /// The residual stream after the final norm, `[batch * seq, hidden_size]`.
    pub(super) fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
        document_starts: &[Vec<usize>],
    ) -> Tensor<2> {
        let (x, pass) = self.begin(input_ids, attention_mask, document_starts);
        let x = self.layers.iter().fold(x, |x, layer| layer.forward(x, &pass, None));
        self.norm.forward(x)
    }

    /// See [`CausalLm::hidden_states`](super::CausalLm::hidden_states).
    pub(super) fn hidden_states(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
    ) -> Vec<Tensor<3>> {
        let (mut x, pass) = self.begin(input_ids, attention_mask, &[]);
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
        let hidden = Hidden { real: cache.real_tokens(&x.device()), documents: None };
        let pass = self.pass([batch, seq], cache.len(), &positions, hidden, &x);
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
        document_starts: &[Vec<usize>],
    ) -> (Tensor<2>, Pass) {
        let [batch, seq] = input_ids.dims();
        let x = self.embed(input_ids);
        let documents = Documents::new(document_starts, seq);
        let positions = match &documents {
            Some(documents) => documents.positions(),
            None => vec![(0..seq).collect()],
        };
        let documents = documents.map(|documents| documents.ids(&x.device()));
        let hidden = Hidden { real: attention_mask, documents };
        let pass = self.pass([batch, seq], seq, &positions, hidden, &x);
        (x, pass)
    }

    /// Rows of the embedding, `[batch * seq, hidden_size]`, multiplied by the scale as the
    /// activations' type can hold it.
    fn embed(&self, input_ids: Tensor<2, Int>) -> Tensor<2> {
        let x = hook::embedding(&self.embed_tokens, input_ids).flatten(0, 1);
        match self.embed_scale {
            Some(scale) => x * scale,
            None => x,
        }
    }

    /// What the layers share: `keys` counts cached tokens too, `x` gives device and type.
    fn pass(
        &self,
        [batch, seq]: [usize; 2],
        keys: usize,
        positions: &[Vec<usize>],
        hidden: Hidden,
        x: &Tensor<2>,
    ) -> Pass {
        let device = x.device();
        let window = self.layers.iter().find_map(|layer| layer.self_attn.sliding_window);
        let masks = Masks::new([seq, keys], window, hidden, &device);
        let angles = self.rotary.angles(positions, &device, x.dtype());
        Pass { batch, seq, angles, masks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{gemma2_with, tiny_gemma};
    use burn::module::Param;
    use burn::tensor::DType;
    use peft_testing::{device, device_with};
    use serde_json::json;

    #[test]
    fn the_scale_of_embeddings_is_rounded_to_their_type() {
        let device = device_with(DType::BF16);
        let config = DecoderConfig { hidden_size: 3072, ..tiny_gemma() };
        let mut decoder = Decoder::new(&config, &device);
        let weight = Tensor::full([1, 3072], 133.0 / 128.0, (&device, DType::BF16));
        decoder.embed_tokens.weight = Param::from_tensor(weight);
        let embedded = decoder.embed(Tensor::from_data([[0]], &device));
        let got = embedded.narrow(1, 0, 1).try_into_vec_as::<f32>().unwrap();
        // √3072 is 55.43, in bf16 55.5. Rounded only after the product, this would be 57.5.
        assert_eq!(got, [57.75]);
    }

    #[test]
    fn what_left_every_window_is_forgotten() {
        let sliding = json!(["sliding_attention", "sliding_attention"]);
        let config = gemma2_with(json!({"layer_types": sliding, "sliding_window": 2}));
        let decoder = Decoder::new(&config, &device());
        let stream = |first| {
            let input = Tensor::from_data([[first, 2, 3, 4, 5]], &device());
            decoder.forward(input, None, &[]) // [5, hidden]
        };
        let differences = (stream(1) - stream(6)).abs().max_dim(1);
        let differences = differences.try_into_vec_as::<f32>().unwrap();
        // Two layers that each look one token back reach two tokens back.
        assert!(differences[..3].iter().all(|&difference| difference > 1e-4), "{differences:?}");
        assert_eq!(differences[3..], [0.0, 0.0]);
    }
}
