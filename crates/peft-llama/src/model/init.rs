//! A decoder before training.

use burn::tensor::Device;

use super::{CausalLm, Decoder, projection};
use crate::DecoderConfig;

impl DecoderConfig {
    /// A model with weights drawn from N(0, `initializer_range`²), norms that scale by one and
    /// biases zero, in the device's default float type. Nothing is allocated before a weight is
    /// first used.
    pub fn init(&self, device: &Device) -> CausalLm {
        let head = || projection::init(self, self.hidden_size, self.vocab_size, false, device);
        CausalLm {
            model: Decoder::new(self, device),
            lm_head: (!self.tie_word_embeddings).then(head),
            final_logit_softcapping: self.final_logit_softcapping,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::fixtures::tiny_with;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::Tensor;
    use peft_testing::device;
    use serde_json::json;

    #[derive(Default)]
    struct Initialized(Vec<bool>);

    impl ModuleVisitor for Initialized {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.is_initialized());
        }
    }

    #[test]
    fn init_allocates_nothing() {
        let mut seen = Initialized::default();
        tiny_with(json!({"attention_bias": true, "mlp_bias": true}))
            .init(&device())
            .visit(&mut seen);
        assert_eq!(seen.0.len(), 1 + 2 * (2 + 4 * 2 + 3 * 2) + 1 + 1);
        assert!(seen.0.iter().all(|initialized| !initialized));
    }

    #[test]
    fn fresh_weights_have_the_configured_spread() {
        let model =
            tiny_with(json!({"vocab_size": 4096, "initializer_range": 0.05})).init(&device());
        let weight = model.lm_head.unwrap().weight.val();
        assert_eq!(weight.dims(), [16, 4096]);
        let [mean, square] = [weight.clone().mean(), weight.square().mean()]
            .map(|x| x.try_into_vec_as::<f32>().unwrap()[0]);
        assert!(mean.abs() < 0.002 && (square.sqrt() - 0.05).abs() < 0.002, "{mean} {square}");
    }
}
