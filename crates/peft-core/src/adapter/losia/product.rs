//! The product with an adapted weight, as one operation.
//!
//! Composed of Burn's operations, the backward pass of gathering `x[:, rows]` fills a tensor of the
//! input's size with zeros, scatters into it and adds it to the gradient that `W` left. As one
//! operation it scatters into that gradient.

#![cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "ndarray is still a backend that people test on")
)]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
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
    ) -> FloatTensor<Self> {
        let picked = Self::float_select(x.clone(), 1, rows);
        add_product::<Self>(Self::float_matmul(x, weight), picked, delta, cols)
    }
}

#[cfg(feature = "flex")]
impl SubnetProduct for burn::backend::Flex {}
#[cfg(feature = "ndarray")]
impl SubnetProduct for burn::backend::NdArray {}
#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl SubnetProduct for burn::backend::Cube {}

impl<B: Backend, C: CheckpointStrategy> SubnetProduct for Autodiff<B, C> {
    fn subnet_product(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        rows: IntTensor<Self>,
        cols: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let picked = B::float_select(x.primitive().clone(), 1, rows.clone());
        let product = B::float_matmul(x.primitive().clone(), weight.primitive().clone());
        let y = add_product::<B>(product, picked.clone(), delta.primitive().clone(), cols.clone());
        let nodes = [x.node(), weight.node(), delta.node()];
        match Gradient.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let keeps_all = weight.is_tracked();
                let keeps_picked = delta.is_tracked() && !keeps_all;
                let saved = Saved {
                    x: keeps_all.then(|| prep.checkpoint(&x)),
                    picked: keeps_picked.then_some(picked),
                    weights: x.is_tracked().then(|| [&weight, &delta].map(|w| prep.checkpoint(w))),
                    rows,
                    cols,
                };
                prep.finish(saved, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// `y`, with `picked · Δ` added to `y[:, cols]`.
fn add_product<B: Backend>(
    y: FloatTensor<B>,
    picked: FloatTensor<B>,
    delta: FloatTensor<B>,
    cols: IntTensor<B>,
) -> FloatTensor<B> {
    B::float_select_assign(y, 1, cols, B::float_matmul(picked, delta), IndexingUpdateOp::Add)
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    /// `x`, if `W` requires a gradient.
    x: Option<NodeId>,
    /// `x[:, rows]`, if only `Δ` does.
    picked: Option<FloatTensor<B>>,
    /// `W` and `Δ`, if `x` requires a gradient.
    weights: Option<[NodeId; 2]>,
    rows: IntTensor<B>,
    cols: IntTensor<B>,
}

/// The backward pass, to `x`, `W` and `Δ`.
#[derive(Debug)]
struct Gradient;

impl<B: Backend> Backward<B, 3> for Gradient {
    type State = Saved<B>;

    fn backward(
        self,
        ops: Ops<Saved<B>, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let Saved { x, picked, weights, rows, cols } = ops.state;
        let [to_x, to_weight, to_delta] = ops.parents;
        let grad = grads.consume::<B>(&ops.node); // [n, d_output]
        let picked_grad = B::float_select(grad.clone(), 1, cols); // [n, c]
        let x: Option<FloatTensor<B>> = x.map(|x| checkpointer.retrieve_node_output(x));
        if let Some(node) = to_delta {
            let pick = |x: &FloatTensor<B>| B::float_select(x.clone(), 1, rows.clone());
            let picked = picked.or_else(|| x.as_ref().map(pick)).expect("kept where Δ is tracked");
            let grad = B::float_matmul(B::float_transpose(picked), picked_grad.clone());
            grads.register::<B>(node.id, grad);
        }
        if let (Some(node), Some(x)) = (to_weight, x) {
            grads.register::<B>(node.id, B::float_matmul(B::float_transpose(x), grad.clone()));
        }
        if let (Some(node), Some(weights)) = (to_x, weights) {
            let [weight, delta] =
                weights.map(|w| B::float_transpose(checkpointer.retrieve_node_output(w)));
            let grad = B::float_matmul(grad, weight); // [n, d_input]
            let grad = add_product::<B>(grad, picked_grad, delta, rows);
            grads.register::<B>(node.id, grad);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::testing::{device, floats};

    const N: usize = 5;
    const ROWS: [i64; 4] = [0, 2, 3, 6]; // of 7
    const COLS: [i64; 3] = [1, 2, 5]; // of 6

    struct Leaves {
        x: Tensor<2>,
        weight: Tensor<2>,
        delta: Tensor<2>,
        transposed: bool,
    }

    type Product = fn(Tensor<2>, Tensor<2>, Block) -> Tensor<2>;

    impl Leaves {
        /// Random values, the same for every device; the bits of `tracked` say which are tracked.
        fn new(device: &Device, tracked: u8, transposed: bool) -> Self {
            device.seed(u64::from(tracked));
            let leaf = |shape: [usize; 2], bit: u8| {
                let shape = if transposed && bit > 0 { [shape[1], shape[0]] } else { shape };
                let leaf = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
                leaf.detach().set_require_grad(tracked & (1 << bit) != 0)
            };
            let [x, weight, delta] =
                [([N, 7], 0), ([7, 6], 1), ([4, 3], 2)].map(|(s, b)| leaf(s, b));
            Self { x, weight, delta, transposed }
        }

        /// `y`, and the gradients of a loss that weighs its entries differently and has `x` in it a
        /// second time.
        fn results(&self, product: Product) -> Vec<Option<Vec<f32>>> {
            let device = self.x.device();
            let turned =
                |w: &Tensor<2>| if self.transposed { w.clone().transpose() } else { w.clone() };
            let block = Block {
                rows: Tensor::from_data(ROWS, &device),
                cols: Tensor::from_data(COLS, &device),
                delta: turned(&self.delta),
            };
            let y = product(self.x.clone(), turned(&self.weight), block);
            let tracked = Tensor::<1>::ones([1], &device).require_grad(); // something always is
            let loss =
                y.clone().powi_scalar(3).sum() + self.x.clone().powi_scalar(2).sum() + tracked;
            let mut grads = loss.backward();
            let floats = |tensor: Tensor<2>| floats(&tensor.into_data());
            let leaves = [&self.x, &self.weight, &self.delta];
            let grads = leaves.map(|leaf| leaf.grad_remove(&mut grads).map(floats));
            [Some(floats(y))].into_iter().chain(grads).collect()
        }
    }

    #[test]
    fn results_and_gradients_are_those_of_the_composed_operations() {
        let plain = device().autodiff();
        assert!(has_operation(plain.clone()));
        for device in [plain.clone(), plain.gradient_checkpointing()] {
            for (tracked, transposed) in (0..8).flat_map(|t| [(t, false), (t, true)]) {
                let leaves = Leaves::new(&device, tracked, transposed);
                let [got, want] = [operation, composed].map(|product| leaves.results(product));
                let is_there = [true, tracked & 1 != 0, tracked & 2 != 0, tracked & 4 != 0];
                let of = ["y", "x", "W", "Δ"].iter().zip(is_there).zip(got.iter().zip(want));
                for ((what, is_there), (got, want)) in of {
                    assert_eq!([got.is_some(), want.is_some()], [is_there; 2], "{what}, {tracked}");
                    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
                        let off = (got - want).abs();
                        assert!(off <= 1e-5 * want.abs().max(1.0), "{what}: {got} against {want}");
                    }
                }
            }
        }
    }
}
