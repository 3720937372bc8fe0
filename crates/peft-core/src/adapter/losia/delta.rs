//! The trainable block of a weight, kept apart from the frozen base.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, FloatDType, IndexingUpdateOp, Int, Tensor};

use super::product::{Block, product};
use crate::subnet::Subnet;

/// `ΔW`, zero but for a block: `ΔW[rows × cols] = delta`.
///
/// The block is kept in f32 beside the base instead of being written into it, so that small
/// updates survive a half-precision base and the base's memory can be shared.
#[derive(Module, Debug)]
pub struct SubnetDelta {
    /// Trained rows, `[r]`, strictly increasing.
    pub rows: Param<Tensor<1, Int>>,
    /// Trained columns, `[c]`, strictly increasing.
    pub cols: Param<Tensor<1, Int>>,
    /// What training has added, `[r, c]`, f32.
    pub delta: Param<Tensor<2>>,
    #[module(skip)]
    shape: [usize; 2],
    #[module(skip)]
    pro: bool,
}

impl SubnetDelta {
    /// A block without effect at `subnet` of a matrix of `shape`. With `pro`, forward hooks compute
    /// it on activations. The block inherits autodiff from `device`.
    pub(crate) fn new(subnet: &Subnet, shape: [usize; 2], pro: bool, device: &Device) -> Self {
        let [rows, cols] = subnet.to_tensors(device);
        Self {
            rows: Param::initialized(ParamId::new(), rows),
            cols: Param::initialized(ParamId::new(), cols),
            delta: Param::from_tensor(neutral(subnet.size(), device, DType::F32)),
            shape,
            pro,
        }
    }

    pub(crate) fn on_activations(&self) -> bool {
        self.pro
    }

    pub(crate) fn compose(&self, base: Tensor<2>) -> Tensor<2> {
        let delta = self.delta_as(&base);
        add_block(base, self.rows.val(), self.cols.val(), delta)
    }

    /// `x · (W + ΔW)`. Keeps `x[:, rows]` for the backward pass, and `x` where `W` requires a gradient.
    pub(crate) fn forward(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let delta = self.delta_as(&x);
        product(x, weight, Block { rows: self.rows.val(), cols: self.cols.val(), delta })
    }

    /// `x · (W + ΔW)ᵀ`. Keeps `x[:, cols]` for the backward pass, and `x` where `W` requires a gradient.
    pub(crate) fn forward_transposed(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let delta = self.delta_as(&x).transpose();
        let block = Block { rows: self.cols.val(), cols: self.rows.val(), delta };
        product(x, weight.transpose(), block)
    }

    pub(crate) fn look_up(&self, ids: Tensor<1, Int>, y: Tensor<2>) -> Tensor<2> {
        let (device, rows) = (ids.device(), self.rows.val());
        let [r] = rows.dims();
        let none = Tensor::<1, Int>::full([self.shape[0]], -1, &device);
        let positions = Tensor::arange(0..r as i64, &device);
        let row_of = none.select_assign(0, rows, positions, IndexingUpdateOp::Assign); // [rows of W]
        let row = row_of.select(0, ids); // [n], −1 where the id is not trained
        let trained = row.clone().greater_equal_elem(0).float().cast(FloatDType::from(y.dtype()));
        let update = self.delta_as(&y).select(0, row.clamp_min(0)); // [n, c]
        let update = update.mul(trained.unsqueeze_dim(1));
        match self.cols.dims()[0] == self.shape[1] {
            true => y + update,
            false => add_at(y, 1, self.cols.val(), update),
        }
    }

    /// The block in the dtype of the computation.
    fn delta_as(&self, like: &Tensor<2>) -> Tensor<2> {
        self.delta.val().cast(FloatDType::from(like.dtype()))
    }
}

/// What can be added without effect: −0 and not +0, since x + (−0) keeps the bits of every x, those
/// of −0 too.
pub(super) fn neutral(size: [usize; 2], device: &Device, dtype: DType) -> Tensor<2> {
    Tensor::full(size, -0.0, (device, dtype))
}

/// `W[rows × cols] + Δ`, every other entry as it was. Copies `W` once.
pub(super) fn add_block(
    base: Tensor<2>,
    rows: Tensor<1, Int>,
    cols: Tensor<1, Int>,
    delta: Tensor<2>,
) -> Tensor<2> {
    let ([height, width], [r, c]) = (base.dims(), delta.dims());
    let delta = match c == width {
        true => delta,
        false => {
            let nothing = neutral([r, width], &base.device(), base.dtype());
            add_at(nothing, 1, cols, delta) // [r, columns of W]
        }
    };
    match r == height {
        true => base + delta,
        false => add_at(base, 0, rows, delta),
    }
}

fn add_at(y: Tensor<2>, dim: usize, at: Tensor<1, Int>, update: Tensor<2>) -> Tensor<2> {
    y.select_assign(dim, at, update, IndexingUpdateOp::Add)
}
