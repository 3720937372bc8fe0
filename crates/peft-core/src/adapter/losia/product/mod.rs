//! The product with an adapted weight, as one operation.
//!
//! Composed of Burn's operations, the backward pass of gathering `x[:, rows]` fills a tensor of the
//! input's size with zeros, scatters into it and adds it to the gradient that `W` left. As one
//! operation it scatters into that gradient.

#![cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "ndarray is still a backend that people test on")
)]

mod backward;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};

/// A block of `W: [d_input, d_output]` and what is added to it.
pub(super) struct Block {
    /// `[r]`, strictly increasing.
    pub rows: Tensor<1, Int>,
    /// `[c]`, strictly increasing.
    pub cols: Tensor<1, Int>,
    /// `[r, c]`, in the dtype of the input.
    pub delta: Tensor<2>,
}

/// `y = x · W` for `x: [n, d_input]`, with `x[:, rows] · Δ` added to `y[:, cols]`. For the backward
/// pass it keeps `x[:, rows]`, and `x` where `W` requires a gradient.
pub(super) fn product(x: Tensor<2>, weight: Tensor<2>, block: Block) -> Tensor<2> {
    // Of all rows nothing is gathered, and Burn's operations make no detour.
    let gathers = block.delta.dims()[0] < weight.dims()[0];
    match gathers && has_operation(x.device()) {
        true => operation(x, weight, block),
        false => composed(x, weight, block),
    }
}

/// The same, composed of Burn's operations.
fn composed(x: Tensor<2>, weight: Tensor<2>, block: Block) -> Tensor<2> {
    let Block { rows, cols, delta } = block;
    let ([d_input, d_output], [r, c]) = (weight.dims(), delta.dims());
    let picked = if r == d_input { x.clone() } else { x.clone().select(1, rows) };
    let (y, update) = (x.matmul(weight), picked.matmul(delta));
    match c == d_output {
        true => y + update,
        false => y.select_assign(1, cols, update, IndexingUpdateOp::Add),
    }
}

/// Whether the crate's feature of this device's backend is on: without it there is no operation.
fn has_operation(device: Device) -> bool {
    match device.inner().as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        burn::backend::DispatchDevice::NdArray(_) => true,
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        burn::backend::DispatchDevice::Cube(_) => true,
        _ => false,
    }
}

fn operation(x: Tensor<2>, weight: Tensor<2>, block: Block) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::subnet_product(
        x.into_dispatch(),
        weight.into_dispatch(),
        block.delta.into_dispatch(),
        block.rows.into_dispatch(),
        block.cols.into_dispatch(),
    ))
}

#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Autodiff
)]
trait SubnetProduct: Backend {
    fn subnet_product(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        rows: IntTensor<Self>,
        cols: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// A backend without autodiff.
impl<B: AddProduct> SubnetProduct for B {
    fn subnet_product(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        rows: IntTensor<Self>,
        cols: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let y = B::float_matmul(x.clone(), weight);
        B::add_product(y, x, rows, delta, cols).0
    }
}

/// What both passes are made of.
trait AddProduct: Backend {
    /// `y`, with `x[:, rows] · Δ` added to `y[:, cols]`, and `x[:, rows]`.
    fn add_product(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        rows: IntTensor<Self>,
        delta: FloatTensor<Self>,
        cols: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        add_composed::<Self>(y, x, rows, delta, cols)
    }
}

#[cfg(feature = "ndarray")]
impl AddProduct for burn::backend::NdArray {}
#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AddProduct for burn::backend::Cube {}

/// The same, composed of operations that every backend has.
fn add_composed<B: Backend>(
    y: FloatTensor<B>,
    x: FloatTensor<B>,
    rows: IntTensor<B>,
    delta: FloatTensor<B>,
    cols: IntTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let picked = B::float_select(x, 1, rows);
    let update = B::float_matmul(picked.clone(), delta);
    (B::float_select_assign(y, 1, cols, update, IndexingUpdateOp::Add), picked)
}

#[cfg(test)]
mod tests;
