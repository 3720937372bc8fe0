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
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};

/// A block of `W: [d_input, d_output]` and what is added to it.
pub(super) struct Block {
    /// `[r]`
    pub rows: Tensor<1, Int>,
    /// `[c]`
    pub cols: Tensor<1, Int>,
    /// `[r, c]`, in the dtype of `W`.
    pub delta: Tensor<2>,
}

/// Whether [`product`] runs on `device`: the crate's feature of its backend is on.
pub(super) fn has_product(device: Device) -> bool {
    match device.inner().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        DispatchDevice::Cube(_) => true,
        _ => false,
    }
}

/// `y = x · W` for `x: [n, d_input]`, with `x[:, rows] · Δ` added to `y[:, cols]`. For the backward
/// pass it keeps `x[:, rows]`, or `x` if `W` requires a gradient.
pub(super) fn product(x: Tensor<2>, weight: Tensor<2>, block: Block) -> Tensor<2> {
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
        let (needs_x, needs_weight) = (weight.is_tracked(), x.is_tracked());
        match Gradient
            .prepare::<C>([x.node(), weight.node(), delta.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let saved = Saved {
                    input: match needs_x {
                        true => Input::Whole(prep.checkpoint(&x)),
                        false => Input::Picked(picked),
                    },
                    weights: needs_weight.then(|| [&weight, &delta].map(|w| prep.checkpoint(w))),
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

/// What the backward pass needs of the input.
#[derive(Debug, Clone)]
enum Input<B: Backend> {
    /// `x[:, rows]`.
    Picked(FloatTensor<B>),
    /// All of it, since `W` requires a gradient.
    Whole(NodeId),
}

#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    input: Input<B>,
    /// `W` and `Δ`, if the input requires a gradient.
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
        let Saved { input, weights, rows, cols } = ops.state;
        let [to_x, to_weight, to_delta] = ops.parents;
        let grad = grads.consume::<B>(&ops.node); // [n, d_output]
        let picked_grad = B::float_select(grad.clone(), 1, cols); // [n, c]
        let (picked, x) = match input {
            Input::Picked(picked) => (picked, None),
            Input::Whole(x) => {
                let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
                (B::float_select(x.clone(), 1, rows.clone()), Some(x))
            }
        };
        if let Some(node) = to_delta {
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
    use crate::testing::floats;

    const N: usize = 5;
    const SHAPE: [usize; 2] = [7, 6];

    struct Leaves {
        x: Tensor<2>,
        weight: Tensor<2>,
        delta: Tensor<2>,
    }

    impl Leaves {
        fn block(&self) -> Block {
            let device = self.x.device();
            let indices = |values: &[i64]| Tensor::from_data(values, &device);
            Block {
                rows: indices(&[0, 2, 3, 6]),
                cols: indices(&[1, 2, 5]),
                delta: self.delta.clone(),
            }
        }

        fn composed(&self) -> Tensor<2> {
            let Block { rows, cols, delta } = self.block();
            let update = self.x.clone().select(1, rows).matmul(delta);
            let y = self.x.clone().matmul(self.weight.clone());
            y.select_assign(1, cols, update, IndexingUpdateOp::Add)
        }

        /// `y`, and the gradients of a loss that weighs its entries differently.
        fn results(&self, y: Tensor<2>) -> Vec<Option<Vec<f32>>> {
            let floats = |tensor: Tensor<2>| floats(&tensor.into_data());
            let mut grads = y.clone().powi_scalar(3).sum().backward();
            let leaves = [&self.x, &self.weight, &self.delta];
            let grads = leaves.map(|leaf| leaf.grad_remove(&mut grads).map(floats));
            [Some(floats(y))].into_iter().chain(grads).collect()
        }
    }

    #[test]
    fn gradients_are_those_of_the_composed_operations() {
        let plain = crate::testing::device().autodiff();
        for device in [plain.clone(), plain.gradient_checkpointing()] {
            assert!(has_product(device.clone()));
            let random = |shape, tracked| {
                let leaf = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
                leaf.detach().set_require_grad(tracked)
            };
            for case in 0..8 {
                let [for_x, for_weight, for_delta] = [1, 2, 4].map(|bit| case & bit != 0);
                let leaves = Leaves {
                    x: random([N, SHAPE[0]], for_x),
                    weight: random(SHAPE, for_weight),
                    delta: random([4, 3], for_delta),
                };
                let y = product(leaves.x.clone(), leaves.weight.clone(), leaves.block());
                if case == 0 {
                    assert!(!y.is_require_grad());
                    continue;
                }
                let results = leaves.results(y).into_iter().zip(leaves.results(leaves.composed()));
                for (what, (got, want)) in ["y", "x", "W", "Δ"].into_iter().zip(results) {
                    let (Some(got), Some(want)) = (&got, &want) else {
                        assert_eq!(got, want, "{what}");
                        continue;
                    };
                    for (got, want) in got.iter().zip(want) {
                        let off = (got - want).abs();
                        assert!(off <= 1e-5 * want.abs().max(1.0), "{what}: {got} against {want}");
                    }
                }
            }
        }
    }
}
