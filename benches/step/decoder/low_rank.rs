//! The decoder's forward pass with a low-rank update beside every linear layer but the head.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_peft::core::hook;
use burn_peft::llama::{Attention, CausalLm, LlamaConfig, Mlp, cross_entropy_sum};

use super::{Ids, linears};
use crate::low_rank::LowRank;
use crate::methods::Workload;

/// A decoder without grouped queries, and its updates.
#[derive(Module, Debug)]
pub struct LowRankDecoder {
    decoder: CausalLm,
    /// Per layer: query, key, value, output, gate, up, down.
    updates: Vec<[LowRank; 7]>,
    /// Angles of every position, `[1, 1, seq, head_dim / 2]`.
    #[module(skip)]
    angles: Tensor<4>,
    /// Hides the future, `[1, 1, seq, seq]`.
    #[module(skip)]
    mask: Tensor<4>,
}

impl LowRankDecoder {
    pub fn new(decoder: CausalLm, config: &LlamaConfig, seq: usize, device: &Device) -> Self {
        let update = |linear| LowRank::new(linear, device);
        let layers = decoder.model.layers.iter();
        let updates = layers.map(|layer| linears(layer).map(update)).collect();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, device).float();
        let inv_freq = config.rope.inv_freq(config.head_dim);
        let inv_freq = Tensor::<1>::from_data(inv_freq.as_slice(), device);
        let angles = positions.unsqueeze_dim::<2>(1) * inv_freq.unsqueeze_dim(0);
        let mask = Tensor::<2, Bool>::tril_mask([seq, seq], 0, device).float() * -1e30;
        Self { decoder, updates, angles: angles.unsqueeze(), mask: mask.unsqueeze() }
    }

    fn attention(&self, layer: &Attention, updates: &[LowRank; 7], x: Tensor<2>) -> Tensor<2> {
        let seq = self.angles.dims()[2];
        let [n, _] = x.dims();
        let [q, k, v, o, ..] = updates;
        let heads = |update: &LowRank, linear: &Linear| {
            let y = update.forward(linear, x.clone());
            let heads = y.dims()[1] / layer.head_dim;
            y.reshape([n / seq, seq, heads, layer.head_dim]).swap_dims(1, 2)
        };
        let q = self.rotate(heads(q, &layer.q_proj)) * (layer.head_dim as f64).powf(-0.5);
        let k = self.rotate(heads(k, &layer.k_proj));
        let scores = q.matmul(k.swap_dims(2, 3)) + self.mask.clone(); // [batch, heads, seq, seq]
        let mixed = softmax(scores, 3).matmul(heads(v, &layer.v_proj));
        let width = mixed.dims()[1] * layer.head_dim;
        o.forward(&layer.o_proj, mixed.swap_dims(1, 2).reshape([n, width]))
    }

    /// Turns each half of the coordinates with the other.
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let halves = x.chunk(2, 3);
        let (first, second) = (halves[0].clone(), halves[1].clone());
        let (cos, sin) = (self.angles.clone().cos(), self.angles.clone().sin());
        let turned = first.clone() * cos.clone() - second.clone() * sin.clone();
        Tensor::cat(vec![turned, second * cos + first * sin], 3)
    }

    fn logits(&self, ids: &Ids) -> Tensor<2> {
        let CausalLm { model, lm_head } = &self.decoder;
        let mut x = hook::embedding(&model.embed_tokens, ids.clone()).flatten(0, 1);
        for (layer, updates) in model.layers.iter().zip(&self.updates) {
            let normed = layer.input_layernorm.forward(x.clone());
            x = x + self.attention(&layer.self_attn, updates, normed);
            let normed = layer.post_attention_layernorm.forward(x.clone());
            x = x + mlp(&layer.mlp, updates, normed);
        }
        let x = model.norm.forward(x);
        match lm_head {
            Some(head) => hook::linear(head, x),
            None => hook::tied_head(&model.embed_tokens, x),
        }
    }
}

fn mlp(layer: &Mlp, updates: &[LowRank; 7], x: Tensor<2>) -> Tensor<2> {
    let [.., gate, up, down] = updates;
    let gate = silu(gate.forward(&layer.gate_proj, x.clone()));
    down.forward(&layer.down_proj, gate * up.forward(&layer.up_proj, x))
}

impl Workload for LowRankDecoder {
    type Batch = Ids;

    fn loss(&self, ids: &Ids) -> Tensor<1> {
        let [batch, seq] = ids.dims();
        let logits = self.logits(ids);
        let vocab = logits.dims()[1];
        cross_entropy_sum(logits.reshape([batch, seq, vocab]), ids.clone()).0
    }
}
