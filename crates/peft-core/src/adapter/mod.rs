//! One folder per method: its configuration, its adapter and its decisions.

pub mod adalora;
pub mod full;
pub mod lora;
pub mod losia;
mod low_rank;

use burn::module::{Module, Reparameterization};
use burn::tensor::Tensor;

use adalora::AdaLoraDelta;
use lora::LoraDelta;
use losia::SubnetDelta;

/// Whatever a method attached to a parameter. Reparameterizations do not nest and are looked up by
/// type, so one type covers all methods.
#[derive(Module, Debug)]
pub enum Adapter {
    /// A trained sub-block (LoSiA).
    Subnet(SubnetDelta),
    /// A low-rank product (LoRA, DoRA, PiSSA).
    Lora(LoraDelta),
    /// A low-rank product with prunable ranks (AdaLoRA).
    AdaLora(AdaLoraDelta),
}

impl Adapter {
    /// Whether the forward hook computes this adapter on activations. If not, every forward pass
    /// composes the dense effective weight.
    pub fn on_activations(&self) -> bool {
        match self {
            Self::Subnet(subnet) => subnet.on_activations(),
            Self::Lora(_) | Self::AdaLora(_) => true,
        }
    }

    /// Whether it is one of those that PEFT's files hold.
    pub(crate) fn is_low_rank(&self) -> bool {
        match self {
            Self::Subnet(_) => false,
            Self::Lora(_) | Self::AdaLora(_) => true,
        }
    }

    /// The effective weight, from the stored one.
    pub fn compose(&self, base: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Subnet(subnet) => subnet.compose(base),
            Self::Lora(lora) => lora.compose(base),
            Self::AdaLora(adalora) => adalora.compose(base),
        }
    }

    /// `x · W'` for `x: [n, rows of W]`, where `W'` is the effective weight.
    pub fn forward(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Subnet(subnet) => subnet.forward(x, weight),
            Self::Lora(lora) => lora.forward(x, weight),
            Self::AdaLora(adalora) => adalora.forward(x, weight),
        }
    }

    /// The trained block, if this adapter can be computed on the look-ups and transposed products
    /// of an embedding: low-rank adapters are attached to linear layers only.
    pub(crate) fn on_embedding(&self) -> Option<&SubnetDelta> {
        match self {
            Self::Subnet(subnet) => subnet.on_activations().then_some(subnet),
            Self::Lora(_) | Self::AdaLora(_) => None,
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
