//! What a forward pass leaves alive for its backward pass.

use std::collections::BTreeMap;

use peft_core::{AdaptedWeight, Outline, ParamInfo};
use peft_llama::{DecoderConfig, ModelType};

/// A batch that is trained on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// Rows.
    pub rows: usize,
    /// Tokens in a row, padding included.
    pub tokens: usize,
    /// Bytes of an element of the computation.
    pub size: usize,
    /// Bytes of an entry of a dense gradient that importance is measured by.
    pub gradient_size: usize,
}

impl Batch {
    /// Bytes of one element for each token.
    fn per_token(&self) -> usize {
        self.rows * self.tokens * self.size
    }

    /// Bytes of one f32 for each token.
    fn f32_per_token(&self) -> usize {
        4 * self.rows * self.tokens
    }
}

/// Bytes that the decoder keeps whatever trains. With n tokens in rows of T, elements of s bytes, and
/// the names of `config.json`, each layer keeps
///
/// - of each norm, the input in f32: `4·n·hidden_size`;
/// - queries, keys and values: `s·n·head_dim·(heads + 2·kv_heads)`;
/// - attention scores before and after the exponential, in f32, and the weights:
///   `rows·heads·T²·(8 + s)`, and 4 more with Gemma 2's caps;
/// - of the MLP, what the activation and the products need: `s·n·intermediate_size` 4 times with
///   SiLU, 5 times with GELU in its tanh form.
///
/// The last norm keeps its input, and the loss works on logits, exponentials and a gradient in f32:
/// `12·n·vocab_size`, and 4 more with Gemma 2's cap. Long rows in large batches may ask for more than can be
/// counted; then it is the largest number.
pub(super) fn of_decoder(config: &DecoderConfig, batch: Batch) -> usize {
    let is_gemma = config.model_type != ModelType::Llama;
    let norms = if config.model_type == ModelType::Gemma2 { 4 } else { 2 };
    let heads = config.num_attention_heads + 2 * config.num_key_value_heads;
    let capped = |cap: Option<f64>| if cap.is_some() { 4 } else { 0 };
    let per_score = 8 + batch.size + capped(config.attn_logit_softcapping);
    let scores = [batch.rows, config.num_attention_heads, batch.tokens, batch.tokens, per_score];
    let scores = scores.into_iter().fold(1, usize::saturating_mul);
    let layer = norms * batch.f32_per_token() * config.hidden_size
        + batch.per_token() * config.head_dim * heads
        + if is_gemma { 5 } else { 4 } * batch.per_token() * config.intermediate_size;
    let per_logit = 3 + capped(config.final_logit_softcapping) / 4;
    let end = config.hidden_size + per_logit * config.vocab_size;
    let layers = config.num_hidden_layers.saturating_mul(layer.saturating_add(scores));
    layers.saturating_add(batch.f32_per_token() * end)
}

/// What a method keeps beside inputs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extras {
    /// Rank of the adapters, whose product with A is kept.
    pub rank: usize,
    /// Features of the inputs that dense gradients for importance need, beside those in the subnets.
    pub localized_inputs: usize,
    /// Whether a mask and what it leaves of each adapter's input are kept.
    pub dropout: bool,
    /// Whether each adapted output is kept, to be scaled by magnitudes.
    pub outputs: bool,
}

/// Bytes kept for what trains: the inputs of trained weights, once where several share one, only
/// those in the subnet with LoSiA-Pro outside the slot; composed weights, where adapters are not
/// computed on activations; what trained norms multiply.
pub(super) fn of_method(outline: &Outline, extras: Extras, batch: Batch) -> usize {
    let own = outline.adapted.iter().map(|weight| of_adapter(weight, extras, batch));
    let is_shared =
        |weight: &&AdaptedWeight| weight.kept_inputs == weight.param.shape[0] && !extras.dropout;
    let adapted = outline.adapted.iter().filter(is_shared).map(|weight| &weight.param);
    let dense = outline.dense.iter().filter(|param| param.is_linear_weight());
    let norms = outline.dense.iter().filter(|param| param.shape.len() == 1);
    let norms: usize = norms.map(ParamInfo::num_elements).sum();
    let inputs = shared_inputs(adapted.chain(dense)) + norms + extras.localized_inputs;
    own.sum::<usize>() + batch.per_token() * inputs
}

fn of_adapter(weight: &AdaptedWeight, extras: Extras, batch: Batch) -> usize {
    let [d_input, d_output] = [weight.param.shape[0], weight.param.shape[1]];
    let composed = if weight.on_activations { 0 } else { batch.size * d_input * d_output };
    let picked = if weight.kept_inputs == d_input { 0 } else { weight.kept_inputs };
    let dropped = if extras.dropout { 2 * d_input } else { 0 };
    let output = if extras.outputs { d_output } else { 0 };
    composed + batch.per_token() * (picked + extras.rank + dropped + output)
}

/// Features of the inputs of linear weights, each input counted once.
pub(in crate::plan) fn shared_inputs<'a>(params: impl Iterator<Item = &'a ParamInfo>) -> usize {
    let input = |param: &'a ParamInfo| {
        let module = param.module_path();
        let (parent, name) = module.rsplit_once('.').unwrap_or(("", module));
        ((parent, input_of(name)), param.shape[0])
    };
    params.map(input).collect::<BTreeMap<_, _>>().values().sum()
}

/// One name for the modules of a layer that read the same input.
fn input_of(name: &str) -> &str {
    match name {
        "q_proj" | "k_proj" | "v_proj" => "attention",
        "gate_proj" | "up_proj" => "mlp",
        name => name,
    }
}
