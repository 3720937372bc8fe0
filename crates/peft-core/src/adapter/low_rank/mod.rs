//! What LoRA, DoRA, PiSSA and AdaLoRA share: small matrices beside a frozen weight, each stepped
//! with an optimizer state of its own.

mod dropout;
mod factor;
mod given;
mod settings;
mod target;
mod tied;

pub(super) use dropout::dropout;
pub(super) use factor::{Factor, Update};
pub(super) use given::{Given, transposed};
pub(super) use settings::{SharedSettings, with_shared_settings};
pub(super) use target::{LowRankTarget, Stepped};

use burn::module::Param;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::Rng;

/// `[rows, cols]` of independent draws.
pub(super) fn draw(
    [rows, cols]: [usize; 2],
    rng: &mut impl Rng,
    draw: impl Fn(&mut dyn Rng) -> f32,
) -> TensorData {
    let mut rng = rng;
    let values: Vec<f32> = (0..rows * cols).map(|_| draw(&mut rng)).collect();
    TensorData::new(values, [rows, cols])
}

/// A trained matrix, f32, in the autodiff context of `device`.
pub(super) fn trained(data: TensorData, device: &Device) -> Param<Tensor<2>> {
    Param::from_tensor(Tensor::from_data(data, (device, burn::tensor::DType::F32)))
}

/// The value of a factor in the dtype of the computation.
pub(super) fn value_as(factor: &Param<Tensor<2>>, like: &Tensor<2>) -> Tensor<2> {
    factor.val().cast(FloatDType::from(like.dtype()))
}
