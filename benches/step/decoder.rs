//! The LLaMA decoder. Its first norm trains whatever else does, so that every backward pass
//! reaches the first layer's input.

use std::error::Error;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_peft::llama::{CausalLm, DecoderConfig, Layer, cross_entropy_sum};

use crate::harness;
use crate::methods::{self, Workload};
use crate::report::Measured;

const BATCH: usize = 4;
const SEQ: usize = 128;
const CONFIG: &str = r#"{
    "model_type": "llama",
    "vocab_size": 2048,
    "hidden_size": 512,
    "intermediate_size": 1376,
    "num_hidden_layers": 4,
    "num_attention_heads": 8
}"#;
const FIRST_NORM: &str = "model.layers.0.input_layernorm";

type Ids = Tensor<2, Int>;

impl Workload for CausalLm {
    type Batch = Ids;

    fn loss(&self, ids: &Ids) -> Tensor<1> {
        cross_entropy_sum(self.forward(ids.clone(), None), ids.clone()).0
    }
}

fn frozen(config: &DecoderConfig, device: &Device) -> CausalLm {
    let mut decoder = config.init(device).no_grad();
    let norm = &mut decoder.model.layers[0].input_layernorm.weight;
    *norm = norm.clone().set_require_grad(true);
    decoder
}

/// Every linear layer of a decoder layer.
fn linears(layer: &Layer) -> [&Linear; 7] {
    let (attention, mlp) = (&layer.self_attn, &layer.mlp);
    [
        &attention.q_proj,
        &attention.k_proj,
        &attention.v_proj,
        &attention.o_proj,
        &mlp.gate_proj,
        &mlp.up_proj,
        &mlp.down_proj,
    ]
}

/// Measures everything on the decoder.
pub fn measure(device: &Device) -> Result<Measured, Box<dyn Error>> {
    let config = DecoderConfig::parse(CONFIG, "the bench's configuration")?;
    let slots = config.num_hidden_layers;
    let vocab = Distribution::Uniform(0.0, config.vocab_size as f64);
    let ids = Ids::random([BATCH, SEQ], vocab, device);
    let decoder = frozen(&config, device);
    let make = || (config.init(device), ids.clone());
    let mut contestants = methods::tuned(make, slots, &[FIRST_NORM.into()])?;
    contestants.push(methods::importance(&linears(&decoder.model.layers[0])));
    let series = harness::measure(methods::floor(decoder, ids), contestants)?;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let title = format!("LLaMA, {slots} layers of {hidden} x {inner}, batch {BATCH} x {SEQ}");
    Ok(Measured { title, slots, series })
}
