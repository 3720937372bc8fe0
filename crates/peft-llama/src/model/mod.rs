//! The decoder. Field names are those of the checkpoint, so module paths equal tensor names.

mod attention;
mod cache;
mod catalogue;
mod decoder;
mod documents;
mod init;
mod layer;
mod mask;
mod mlp;
mod norm;
mod projection;
mod rotary;
mod softcap;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Bool, Int, Tensor};
use peft_core::hook;

pub use attention::Attention;
pub use cache::KvCache;
pub use decoder::Decoder;
pub use layer::Layer;
pub use mlp::Mlp;
pub use norm::RmsNorm;
pub use rotary::Rotary;
use softcap::softcap;

/// A decoder with an output head over the vocabulary: LLaMA or Gemma for causal language
/// modelling.
///
/// Made by [`DecoderConfig::init`](crate::DecoderConfig::init) with random weights, or by
/// [`Checkpoint::load`](crate::Checkpoint::load).
#[derive(Module, Debug)]
pub struct CausalLm {
    /// Embedding, layers and final norm.
    pub model: Decoder,
    /// Output head `[hidden_size, vocab_size]`; `None` where it is the embedding.
    pub lm_head: Option<Linear>,
    /// Logits are squashed into ± this.
    pub final_logit_softcapping: Option<f64>,
}

impl CausalLm {
    /// Logits of the next token at every position, `[batch, seq, vocab_size]`, from ids
    /// `[batch, seq]`.
    ///
    /// `attention_mask` `[batch, seq]` is true at real tokens and false at padding, which no token
    /// attends to. Positions are 0 to `seq - 1` in every row, so pad on the right. Logits at
    /// padding mean nothing.
    ///
    /// # Panics
    /// Burn panics where an id is not below `vocab_size` or the shapes differ.
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
    ) -> Tensor<3> {
        self.forward_packed(input_ids, attention_mask, &[])
    }

    /// Like [`forward`](Self::forward), for rows that hold several documents one after another:
    /// no token attends beyond its document, and positions restart with each. Every document gets
    /// the logits it gets in a row of its own.
    ///
    /// `document_starts` has a list for every row: the columns, ascending, in which its documents
    /// begin. The first begins at column 0, named or not. An empty slice stands for rows of one
    /// document each.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), and where `document_starts` is not empty and not as long as
    /// the batch.
    pub fn forward_packed(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
        document_starts: &[Vec<usize>],
    ) -> Tensor<3> {
        let [batch, seq] = input_ids.dims();
        let lists = document_starts.len();
        // Those of a single row would be broadcast to all.
        assert!(lists == 0 || lists == batch, "{lists} lists of document starts, {batch} rows");
        // [batch * seq, hidden]
        let hidden = self.model.forward(input_ids, attention_mask, document_starts);
        let logits = self.head(hidden); // [batch * seq, vocab]
        let vocab_size = logits.dims()[1];
        logits.reshape([batch, seq, vocab_size])
    }

    /// The residual stream `[batch, seq, hidden_size]`: the embeddings (scaled in Gemma), then the
    /// output of every layer, the last one after the final norm (`num_hidden_layers + 1` tensors).
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn hidden_states(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Option<Tensor<2, Bool>>,
    ) -> Vec<Tensor<3>> {
        self.model.hidden_states(input_ids, attention_mask)
    }

    /// Logits `[batch, vocab_size]` of the token after `input_ids` `[batch, seq]`, which continue
    /// what `cache` holds. Reading a prompt in one step and then one token per step gives what
    /// [`forward`](Self::forward) gives at the last position.
    ///
    /// # Panics
    /// Burn panics where an id is not below `vocab_size` or the batch is not that of the cache.
    pub fn step(&self, input_ids: Tensor<2, Int>, cache: &mut KvCache) -> Tensor<2> {
        self.head(self.model.step(input_ids, cache))
    }

    /// Name of the weight the logits are computed with: `lm_head.weight`, or
    /// `model.embed_tokens.weight` where the head is tied.
    pub fn output_head_name(&self) -> &'static str {
        match self.lm_head {
            Some(_) => "lm_head.weight",
            None => "model.embed_tokens.weight",
        }
    }

    /// Number of token ids the model knows.
    pub fn vocab_size(&self) -> usize {
        self.model.embed_tokens.weight.lazy_shape()[0]
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        let logits = match &self.lm_head {
            Some(head) => hook::linear(head, hidden),
            None => hook::tied_head(&self.model.embed_tokens, hidden),
        };
        softcap(logits, self.final_logit_softcapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{gemma2_with, tiny, tiny_gemma, tiny_gemma2, tiny_with};
    use burn::module::{ModuleVisitor, Param};
    use peft_testing::device;
    use serde_json::json;

    fn ids(rows: &[[i64; 5]]) -> Tensor<2, Int> {
        let flat: Vec<i64> = rows.concat();
        Tensor::<1, Int>::from_data(flat.as_slice(), &device()).reshape([rows.len(), 5])
    }

    fn largest_difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        (a - b).abs().max().try_into_vec_as::<f32>().unwrap()[0]
    }

    #[test]
    fn a_tied_head_is_the_embedding() {
        let mut tied = tiny_with(json!({"tie_word_embeddings": true})).init(&device());
        let mut untied = tiny().init(&device());
        assert_eq!(tied.output_head_name(), "model.embed_tokens.weight");
        assert_eq!(untied.output_head_name(), "lm_head.weight");
        tied.model = untied.model.clone();
        let head = untied.lm_head.as_mut().unwrap();
        head.weight = Param::from_tensor(tied.model.embed_tokens.weight.val().transpose());
        let input = ids(&[[1, 2, 3, 4, 5]]);
        let (a, b) = (tied.forward(input.clone(), None), untied.forward(input, None));
        assert!(largest_difference(a, b) < 1e-5);
    }

    #[test]
    fn no_token_sees_the_future_or_padding() {
        let model = tiny().init(&device());
        let mask = Tensor::<2, Bool>::from_data([[true, true, true, false, false]], &device());
        let short = model.forward(ids(&[[1, 2, 3, 4, 5]]), Some(mask.clone()));
        let other = model.forward(ids(&[[1, 2, 3, 6, 7]]), Some(mask));
        let plain = model.forward(ids(&[[1, 2, 3, 8, 9]]), None);
        let real = |x: Tensor<3>| x.narrow(1, 0, 3);
        assert!(largest_difference(real(short.clone()), real(other)) < 1e-6);
        assert!(largest_difference(real(short), real(plain)) < 1e-5);
    }

    #[test]
    fn padding_in_front_is_not_attended_to() {
        let model = tiny().init(&device());
        let mask = Tensor::<2, Bool>::from_data([[false, false, true, true, true]], &device());
        let a = model.forward(ids(&[[1, 2, 3, 4, 5]]), Some(mask.clone()));
        let b = model.forward(ids(&[[6, 7, 3, 4, 5]]), Some(mask));
        assert!(largest_difference(a.narrow(1, 2, 3), b.narrow(1, 2, 3)) < 1e-6);
    }

    #[test]
    fn steps_equal_one_forward() {
        for config in [tiny(), tiny_gemma(), tiny_gemma2()] {
            let model = config.init(&device());
            let input = ids(&[[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]);
            let logits = model.forward(input.clone(), None);
            let mut cache = KvCache::new(vec![0, 0]);
            let first = model.step(input.clone().narrow(1, 0, 3), &mut cache);
            let second = model.step(input.clone().narrow(1, 3, 1), &mut cache);
            let third = model.step(input.narrow(1, 4, 1), &mut cache);
            for (step, position) in [(first, 2), (second, 3), (third, 4)] {
                let want = logits.clone().narrow(1, position, 1).squeeze_dim(1);
                assert!(largest_difference(step, want) < 1e-5);
            }
        }
    }

    #[test]
    fn a_document_in_a_packed_row_is_read_as_if_it_were_alone() {
        for config in [tiny(), tiny_gemma(), tiny_gemma2()] {
            let model = config.init(&device());
            let packed = ids(&[[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]);
            let logits = model.forward_packed(packed.clone(), None, &[vec![2], vec![]]);
            let alone = model.forward(packed.clone().slice([0..1, 2..5]), None);
            let document = logits.clone().slice([0..1, 2..5]);
            assert!(largest_difference(document, alone) < 1e-5);
            let whole = model.forward(packed, None);
            let second_row = |x: Tensor<3>| x.narrow(0, 1, 1);
            assert!(largest_difference(second_row(logits), second_row(whole)) < 1e-5);
        }
    }

    #[test]
    #[should_panic(expected = "1 lists of document starts, 2 rows")]
    fn borders_of_one_row_do_not_stand_for_all() {
        let packed = ids(&[[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]);
        tiny().init(&device()).forward_packed(packed, None, &[vec![2]]);
    }

    #[test]
    fn logits_stay_within_their_cap() {
        let input = ids(&[[1, 2, 3, 4, 5]]);
        let model = gemma2_with(json!({"final_logit_softcapping": 0.5})).init(&device());
        let mut uncapped = model.clone();
        uncapped.final_logit_softcapping = None;
        let largest = |model: CausalLm| {
            let logits = model.forward(input.clone(), None);
            logits.abs().max().try_into_vec_as::<f32>().unwrap()[0]
        };
        assert!(largest(model) <= 0.5 && largest(uncapped) > 0.5);
    }

    #[test]
    fn biases_take_part() {
        let config = tiny_with(json!({"attention_bias": true, "mlp_bias": true}));
        let mut model = config.init(&device());
        let input = ids(&[[1, 2, 3, 4, 5]]);
        let before = model.forward(input.clone(), None);
        for layer in &mut model.model.layers {
            layer.self_attn.v_proj.bias = Some(Param::from_tensor(Tensor::ones([8], &device())));
            layer.mlp.up_proj.bias = Some(Param::from_tensor(Tensor::ones([12], &device())));
        }
        assert!(largest_difference(before, model.forward(input, None)) > 1e-3);
    }

    #[test]
    fn every_weight_gets_a_gradient() {
        struct HasGradient<'a>(&'a burn::tensor::Gradients, usize);
        impl ModuleVisitor for HasGradient<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                assert!(param.val().grad(self.0).is_some());
                self.1 += 1;
            }
        }
        let device = device().autodiff();
        let counts = [
            (tiny(), 1 + 2 * 9 + 1 + 1),
            (tiny_gemma(), 1 + 2 * 9 + 1),
            (tiny_gemma2(), 1 + 2 * 11 + 1),
        ];
        for (config, count) in counts {
            let model = config.init(&device);
            let input = Tensor::<2, Int>::from_data([[1, 2, 3]], &device);
            let gradients = model.forward(input, None).square().sum().backward();
            let mut visitor = HasGradient(&gradients, 0);
            model.visit(&mut visitor);
            assert_eq!(visitor.1, count);
        }
    }
}
