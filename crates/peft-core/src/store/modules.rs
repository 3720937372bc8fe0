//! An adapter's tensors of one module.

use burn::tensor::TensorData;

/// An adapter's tensors of one module `y = W x`, in PEFT's shapes: f32, bf16 or f16.
#[derive(Debug, Clone, PartialEq)]
pub enum ModuleTensors {
    /// LoRA: `ΔW = scale · B A`.
    Lora {
        /// A: `[r, in]`
        a: TensorData,
        /// B: `[out, r]`
        b: TensorData,
        /// Norms of the rows of the adapted weight (DoRA): `[out]`
        magnitude: Option<TensorData>,
    },
    /// AdaLoRA: `ΔW = scale · B diag(E) A`, of the surviving rank, which may be 0.
    AdaLora {
        /// A: `[r, in]`
        a: TensorData,
        /// B: `[out, r]`
        b: TensorData,
        /// E: `[r, 1]`
        e: TensorData,
    },
}

pub(super) const LORA_A: &str = "lora_A.weight";
pub(super) const LORA_B: &str = "lora_B.weight";
pub(super) const MAGNITUDE: &str = "lora_magnitude_vector";
pub(super) const ADALORA_A: &str = "lora_A";
pub(super) const ADALORA_B: &str = "lora_B";
pub(super) const ADALORA_E: &str = "lora_E";

impl ModuleTensors {
    /// Input and output features of the module.
    pub(crate) fn features(&self) -> [usize; 2] {
        let (Self::Lora { a, b, .. } | Self::AdaLora { a, b, .. }) = self;
        [a.shape()[1], b.shape()[0]]
    }

    /// Ranks of the adapter.
    pub(super) fn rank(&self) -> usize {
        let (Self::Lora { a, .. } | Self::AdaLora { a, .. }) = self;
        a.shape()[0]
    }

    /// The tensors, each with the end of its name: A first, then B.
    pub(super) fn named(&self) -> Vec<(&'static str, &TensorData)> {
        match self {
            Self::Lora { a, b, magnitude } => {
                let magnitude = magnitude.as_ref().map(|magnitude| (MAGNITUDE, magnitude));
                [(LORA_A, a), (LORA_B, b)].into_iter().chain(magnitude).collect()
            }
            Self::AdaLora { a, b, e } => vec![(ADALORA_A, a), (ADALORA_B, b), (ADALORA_E, e)],
        }
    }
}
