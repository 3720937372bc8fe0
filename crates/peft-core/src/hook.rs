//! The adapter hook: forward passes that compute an attached adapter on activations.
//!
//! Without the hook an adapted parameter still works in any Burn module: `Param::val` composes the
//! dense effective weight, at the cost of a dense gradient. Both paths give the same numbers, but for
//! dropout, which only the hook computes.

use burn::module::LoraAdapter;
use burn::nn::{Embedding, Linear};
use burn::tensor::{FloatDType, Int, Tensor};

use crate::adapter::Adapter;
use crate::adapter::losia::SubnetDelta;

/// `y = x · W (+ b)`, `[.., d_input]` to `[.., d_output]`. Adapters of Burn's own `apply_lora` are
/// computed on activations too.
pub fn linear<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    let weight = &layer.weight;
    let mut shape = input.dims();
    let y = match (weight.reparameterization::<Adapter>(), weight.adapter()) {
        (Some(adapter), _) if adapter.on_activations() => {
            adapter.forward(flat(input), weight.base())
        }
        (_, Some(lora)) => burn_lora(lora, flat(input), weight.base()),
        _ => return layer.forward(input),
    }; // [n, d_output]
    let y = match &layer.bias {
        Some(bias) => y + bias.val().unsqueeze(),
        None => y,
    };
    shape[D - 1] = y.dims()[1];
    y.reshape(shape)
}

/// `x · (W + scale · a · b)`, with a weight of any dtype, as Burn composes it.
fn burn_lora(lora: &LoraAdapter, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let y = x.clone().matmul(weight);
    let dtype = FloatDType::from(y.dtype());
    let [a, b] = [&lora.a, &lora.b].map(|factor| factor.val().cast(dtype));
    y.add(x.matmul(a).matmul(b).mul_scalar(lora.scale))
}

/// Row look-up, `[batch, seq]` ids to `[batch, seq, d_model]`.
pub fn embedding(layer: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    let Some(block) = on_activations(layer) else {
        return layer.forward(ids);
    };
    let y = burn::tensor::module::embedding(layer.weight.base(), ids.clone());
    let shape = y.dims();
    block.look_up(ids.flatten(0, 1), flat(y)).reshape(shape)
}

/// An output head that shares an embedding's weight, `E: [vocab, d_model]`: `logits = x · Eᵀ`,
/// `[.., d_model]` to `[.., vocab]`.
pub fn tied_head<const D: usize>(layer: &Embedding, hidden: Tensor<D>) -> Tensor<D> {
    let mut shape = hidden.dims();
    let x = flat(hidden); // [n, d_model]
    let logits = match on_activations(layer) {
        Some(block) => block.forward_transposed(x, layer.weight.base()),
        None => x.matmul(layer.weight.val().transpose()),
    }; // [n, vocab]
    shape[D - 1] = logits.dims()[1];
    logits.reshape(shape)
}

fn on_activations(layer: &Embedding) -> Option<&SubnetDelta> {
    layer.weight.reparameterization::<Adapter>()?.on_embedding()
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let features = x.dims()[D - 1];
    let n = x.shape().num_elements() / features.max(1);
    x.reshape([n, features])
}
