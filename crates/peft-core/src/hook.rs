//! The adapter hook: forward passes that compute an attached adapter on activations.
//!
//! Without the hook an adapted parameter still works in any Burn module: `Param::val` composes the
//! dense effective weight, at the cost of a dense gradient. Both paths give the same numbers.

use burn::nn::{Embedding, Linear};
use burn::tensor::{Int, Tensor};

use crate::adapter::Adapter;

/// `y = x · W (+ b)`, `[.., d_input]` to `[.., d_output]`.
pub fn linear<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    let Some(adapter) = on_activations(layer.weight.reparameterization()) else {
        return layer.forward(input);
    };
    let weight = layer.weight.base();
    let mut shape = input.dims();
    let x = flat(input); // [n, d_input]
    let y = adapter.forward(x.clone(), x.matmul(weight)); // [n, d_output]
    let y = match &layer.bias {
        Some(bias) => y + bias.val().unsqueeze(),
        None => y,
    };
    shape[D - 1] = y.dims()[1];
    y.reshape(shape)
}

/// Row look-up, `[batch, seq]` ids to `[batch, seq, d_model]`.
pub fn embedding(layer: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    let Some(adapter) = on_activations(layer.weight.reparameterization()) else {
        return layer.forward(ids);
    };
    let y = burn::tensor::module::embedding(layer.weight.base(), ids.clone());
    let shape = y.dims();
    adapter.look_up(ids.flatten(0, 1), flat(y)).reshape(shape)
}

/// An output head that shares an embedding's weight, `E: [vocab, d_model]`: `logits = x · Eᵀ`,
/// `[.., d_model]` to `[.., vocab]`.
pub fn tied_head<const D: usize>(layer: &Embedding, hidden: Tensor<D>) -> Tensor<D> {
    let adapter = on_activations(layer.weight.reparameterization());
    let weight = match adapter {
        Some(_) => layer.weight.base(),
        None => layer.weight.val(),
    };
    let mut shape = hidden.dims();
    let x = flat(hidden); // [n, d_model]
    let logits = x.clone().matmul(weight.transpose()); // [n, vocab]
    let logits = match adapter {
        Some(adapter) => adapter.forward_transposed(x, logits),
        None => logits,
    };
    shape[D - 1] = logits.dims()[1];
    logits.reshape(shape)
}

fn on_activations(adapter: Option<&Adapter>) -> Option<&Adapter> {
    adapter.filter(|adapter| adapter.on_activations())
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let features = x.dims()[D - 1];
    let n = x.shape().num_elements() / features.max(1);
    x.reshape([n, features])
}
