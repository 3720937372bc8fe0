//! The LLaMA decoder. Its first norm trains whatever else does, so that every backward pass
//! reaches the first layer's input.

use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_peft::llama::{CausalLm, DecoderConfig, cross_entropy_sum};

use crate::harness::{self, Failure, Plan};
use crate::report::Measured;
use crate::size::Size;
use crate::workload::Workload;

const SMALL: &str = r#"{
    "model_type": "llama",
    "vocab_size": 2048,
    "hidden_size": 512,
    "intermediate_size": 1376,
    "num_hidden_layers": 4,
    "num_attention_heads": 8
}"#;
const LLAMA_7B: &str = r#"{
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 4,
    "num_attention_heads": 32
}"#;

type Ids = Tensor<2, Int>;

impl Workload for CausalLm {
    type Batch = Ids;

    const EMBEDDING: Option<&'static str> = Some("model.embed_tokens.weight");
    const OUTPUT_HEAD: Option<&'static str> = Some("lm_head.weight");
    const DENSE: &'static [&'static str] = &["model.layers.0.input_layernorm"];

    fn loss(&self, ids: &Ids) -> Tensor<1> {
        cross_entropy_sum(self.forward(ids.clone(), None), ids.clone()).0
    }

    fn reached(mut self) -> Self {
        let norm = &mut self.model.layers[0].input_layernorm.weight;
        *norm = norm.clone().set_require_grad(true);
        self
    }

    fn first_slot(&self) -> Vec<&Linear> {
        let (attention, mlp) = (&self.model.layers[0].self_attn, &self.model.layers[0].mlp);
        vec![
            &attention.q_proj,
            &attention.k_proj,
            &attention.v_proj,
            &attention.o_proj,
            &mlp.gate_proj,
            &mlp.up_proj,
            &mlp.down_proj,
        ]
    }
}

/// Measures everything on the decoder.
pub fn measure(device: &Device, size: Size, pairs: usize) -> Result<Measured, Failure> {
    let (config, [batch, seq]) = match size {
        Size::Small => (SMALL, [4, 128]),
        Size::Llama7b => (LLAMA_7B, [1, 2048]),
    };
    let config = DecoderConfig::parse(config, "the bench's configuration")?;
    let vocab = Distribution::Uniform(0.0, config.vocab_size as f64);
    let ids = Ids::random([batch, seq], vocab, device);
    let slots = config.num_hidden_layers;
    let plan = Plan { device: device.clone(), pairs, slots };
    let series = harness::measure(|| size.cast(config.init(device)), ids, &plan)?;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let title = format!("LLaMA, {slots} layers of {hidden} x {inner}, batch {batch} x {seq}");
    Ok(Measured { title, slots, series })
}
