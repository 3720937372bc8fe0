//! One folder per method: its configuration, its adapter and its decisions.

pub mod full;
pub mod losia;

use burn::module::{Module, Reparameterization};
use burn::tensor::{Int, Tensor};

use losia::SubnetDelta;

/// Whatever a method attached to a parameter. Reparameterizations do not nest and are looked up by
/// type, so one type covers all methods.
#[derive(Module, Debug)]
pub enum Adapter {
    /// A trained sub-block (LoSiA).
    Subnet(SubnetDelta),
}

impl Adapter {
    /// Whether the forward hook computes this adapter on activations. If not, every forward pass
    /// composes the dense effective weight.
    pub fn on_activations(&self) -> bool {
        match self {
            Self::Subnet(subnet) => subnet.on_activations(),
        }
    }

    /// The effective weight, from the stored one.
    pub fn compose(&self, base: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Subnet(subnet) => subnet.compose(base),
        }
    }

    /// `y + x·ΔW` for `x: [n, rows of W]`, `y: [n, columns of W]`.
    pub fn forward(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Subnet(subnet) => subnet.forward(x, y),
        }
    }

    /// `y + x·ΔWᵀ` for `x: [n, columns of W]`, `y: [n, rows of W]`.
    pub fn forward_transposed(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Subnet(subnet) => subnet.forward_transposed(x, y),
        }
    }

    /// `y + ΔW[ids]` for `ids: [n]`, `y: [n, columns of W]`.
    pub fn look_up(&self, ids: Tensor<1, Int>, y: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Subnet(subnet) => subnet.look_up(ids, y),
        }
    }
}

impl Reparameterization for Adapter {
    const NAME: &'static str = "peft";

    /// The effective value of a matrix. Nothing but matrices is adapted: other ranks are returned
    /// as they are.
    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        if D != 2 {
            return base;
        }
        let shape = base.shape();
        self.compose(base.reshape([shape[0], shape[1]])).reshape(shape)
    }
}
