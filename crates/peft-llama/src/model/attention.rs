//! Grouped-query attention.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Tensor};
use peft_core::hook;

use super::cache::LayerCache;
use super::decoder::Pass;
use super::{projection, softcap};
use crate::DecoderConfig;

/// Causal self-attention in which several query heads share one key and value head.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[hidden_size, num_attention_heads * head_dim]`
    pub q_proj: Linear,
    /// `[hidden_size, num_key_value_heads * head_dim]`
    pub k_proj: Linear,
    /// `[hidden_size, num_key_value_heads * head_dim]`
    pub v_proj: Linear,
    /// `[num_attention_heads * head_dim, hidden_size]`
    pub o_proj: Linear,
    /// Width of one head.
    pub head_dim: usize,
    /// Queries are multiplied by it.
    pub scaling: f64,
    /// Scores are squashed into ± this.
    pub softcap: Option<f64>,
    /// How many tokens a query sees, itself included; `None` for all.
    pub sliding_window: Option<usize>,
}

impl Attention {
    pub(super) fn new(
        config: &DecoderConfig,
        sliding_window: Option<usize>,
        device: &Device,
    ) -> Self {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let linear =
            |d_in, d_out| projection::init(config, d_in, d_out, config.attention_bias, device);
        Self {
            q_proj: linear(hidden, queries),
            k_proj: linear(hidden, keys),
            v_proj: linear(hidden, keys),
            o_proj: linear(queries, hidden),
            head_dim: config.head_dim,
            scaling: (config.query_pre_attn_scalar as f64).powf(-0.5),
            softcap: config.attn_logit_softcapping,
            sliding_window,
        }
    }

    /// `x` `[batch * seq, hidden]`; with a cache, `x` continues what it holds.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<2> {
        let q = self.heads(&self.q_proj, x.clone(), pass); // [batch, heads, seq, head_dim]
        let k = self.heads(&self.k_proj, x.clone(), pass); // [batch, kv_heads, seq, head_dim]
        let v = self.heads(&self.v_proj, x, pass); // [batch, kv_heads, seq, head_dim]
        let (q, k) = (pass.angles.apply(q) * self.scaling, pass.angles.apply(k));
        let (k, v) = match cache {
            Some(cache) => cache.append(k, v), // [batch, kv_heads, keys, head_dim]
            None => (k, v),
        };
        let mask = pass.masks.of(self.sliding_window);
        let mixed = attend(q, k, v, mask, self.softcap); // [batch, heads, seq, head_dim]
        let mixed = mixed.swap_dims(1, 2); // [batch, seq, heads, head_dim]
        let width = mixed.dims()[2] * self.head_dim;
        hook::linear(&self.o_proj, mixed.reshape([pass.batch * pass.seq, width]))
    }

    /// Projects `x` `[batch * seq, hidden]` to `[batch, heads, seq, head_dim]`.
    fn heads(&self, layer: &Linear, x: Tensor<2>, pass: &Pass) -> Tensor<4> {
        let y = hook::linear(layer, x); // [batch * seq, heads * head_dim]
        let heads = y.dims()[1] / self.head_dim;
        y.reshape([pass.batch, pass.seq, heads, self.head_dim]).swap_dims(1, 2)
    }
}

/// Dot-product attention of `q` `[batch, heads, seq, head_dim]`, scaled before, over `k` and `v`
/// `[batch, kv_heads, keys, head_dim]`. Queries that share a key head are stacked along `seq`, so
/// that keys and values are never repeated. Scores are capped and weighed in f32.
fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: Option<Tensor<5>>,
    cap: Option<f64>,
) -> Tensor<4> {
    let dtype = q.dtype();
    let [batch, heads, seq, head_dim] = q.dims();
    let [_, kv_heads, keys, _] = k.dims();
    let group = heads / kv_heads;

    let q = q.reshape([batch, kv_heads, group * seq, head_dim]);
    let scores = q.matmul(k.swap_dims(2, 3)); // [batch, kv_heads, group * seq, keys]
    let scores = scores.cast(DType::F32).reshape([batch, kv_heads, group, seq, keys]);
    let scores = softcap(scores, cap);
    let scores = match mask {
        Some(mask) => scores + mask,
        None => scores,
    };
    let weights = softmax(scores, 4).cast(dtype); // [batch, kv_heads, group, seq, keys]
    let weights = weights.reshape([batch, kv_heads, group * seq, keys]);
    let mixed = weights.matmul(v); // [batch, kv_heads, group * seq, head_dim]
    mixed.reshape([batch, heads, seq, head_dim])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;
    use peft_testing::device;

    #[test]
    fn grouped_queries_equal_repeated_keys() {
        let random = |heads| {
            let shape = [2, heads, 3, 4];
            Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device())
        };
        let (q, k, v) = (random(6), random(2), random(2));
        let repeat = |x: Tensor<4>| {
            let [batch, heads, seq, dim] = x.dims();
            let x = x.reshape([batch, heads, 1, seq, dim]).repeat_dim(2, 3);
            x.reshape([batch, heads * 3, seq, dim])
        };
        let want = attend(q.clone(), repeat(k.clone()), repeat(v.clone()), None, None);
        let difference = (attend(q, k, v, None, None) - want).abs().max();
        assert!(difference.try_into_vec_as::<f32>().unwrap()[0] < 1e-5);
    }
}
