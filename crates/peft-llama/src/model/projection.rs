//! Linear layers as checkpoints store them.

use burn::nn::{Initializer, Linear, LinearConfig, LinearLayout};
use burn::tensor::Device;

use crate::DecoderConfig;

/// A linear layer whose weight keeps the checkpoint's memory order `[d_output, d_input]` and is
/// used through a transposed view, so that loading transposes nothing. Biases start at zero.
pub(super) fn init(
    config: &DecoderConfig,
    d_input: usize,
    d_output: usize,
    bias: bool,
    device: &Device,
) -> Linear {
    let linear = LinearConfig::new(d_input, d_output)
        .with_bias(false)
        .with_initializer(normal(config))
        .with_layout(LinearLayout::Col)
        .init(device);
    Linear { bias: bias.then(|| Initializer::Zeros.init([d_output], device)), ..linear }
}

/// The distribution weights are drawn from before training.
pub(super) fn normal(config: &DecoderConfig) -> Initializer {
    Initializer::Normal { mean: 0.0, std: config.initializer_range }
}
