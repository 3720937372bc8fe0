//! The backward pass.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{AddProduct, SubnetProduct};

impl<B: AddProduct, C: CheckpointStrategy> SubnetProduct for Autodiff<B, C> {
    fn subnet_product(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        rows: IntTensor<Self>,
        cols: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x_value, w_value, d_value] = [&x, &weight, &delta].map(|t| t.primitive().clone());
        let y = B::float_matmul(x_value.clone(), w_value);
        let (y, picked) = B::add_product(y, x_value, rows.clone(), d_value, cols.clone());
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

impl<B: AddProduct> Backward<B, 3> for Gradient {
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
        let x: Option<FloatTensor<B>> = x.map(|x| checkpointer.retrieve_node_output(x));
        if let (Some(node), Some(x)) = (to_weight, &x) {
            let x = B::float_transpose(x.clone());
            grads.register::<B>(node.id, B::float_matmul(x, grad.clone()));
        }
        let picked_grad = match (to_x, weights) {
            (Some(node), Some(weights)) => {
                let [weight, delta] =
                    weights.map(|w| B::float_transpose(checkpointer.retrieve_node_output(w)));
                let to_x = B::float_matmul(grad.clone(), weight); // [n, d_input]
                let (to_x, picked) = B::add_product(to_x, grad, cols, delta, rows.clone());
                grads.register::<B>(node.id, to_x);
                picked
            }
            _ => B::float_select(grad, 1, cols),
        }; // [n, c]
        if let Some(node) = to_delta {
            let pick = |x: FloatTensor<B>| B::float_select(x, 1, rows);
            let picked = picked.or_else(|| x.map(pick)).expect("kept where Δ is tracked");
            let grad = B::float_matmul(B::float_transpose(picked), picked_grad);
            grads.register::<B>(node.id, grad);
        }
    }
}
