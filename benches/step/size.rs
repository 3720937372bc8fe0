//! How large the measured models are.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};
use clap::ValueEnum;

/// Size and type of the measured models.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Size {
    /// Small ones in f32, for a CPU.
    Small,
    /// Layers as wide as those of LLaMA-2-7B, in bf16, on 2048 tokens, for a GPU.
    #[value(name = "7b")]
    Llama7b,
}

impl Size {
    /// Type of weights and activations.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::Small => FloatDType::F32,
            Self::Llama7b => FloatDType::BF16,
        }
    }

    /// The model with weights of that type.
    pub fn cast<M: Module>(self, model: M) -> M {
        model.map(&mut Cast(self.dtype()))
    }
}

struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| weight.cast(self.0).detach())
    }
}
