//! Adding a trained block into its weight.

use burn::tensor::{Device, FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};

use super::{Subnet, gather};

/// A trained block, kept in f32 on the host. Applied in order to the original weight, the blocks
/// of a run give the trained weight bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledBlock {
    /// Path of the weight.
    pub path: String,
    /// Step at whose end it was settled, counted from 0.
    pub step: usize,
    /// Where it belongs.
    pub subnet: Subnet,
    /// What training added, `[rows, columns]`, f32.
    pub delta: TensorData,
}

impl SettledBlock {
    /// The weight with this block added.
    pub fn apply(&self, weight: Tensor<2>) -> Tensor<2> {
        let device: Device = weight.device();
        let [rows, cols] = self.subnet.to_tensors(&device);
        let delta = Tensor::from_data(self.delta.clone(), (&device, burn::tensor::DType::F32));
        settle(weight, rows, cols, delta)
    }
}

/// `W[rows × cols] ← round(W[rows × cols] + Δ)`: added in f32, rounded once to the dtype of `W`.
/// Every other entry keeps its bits (assigned, not added to: −0 + 0 would be +0).
pub fn settle(
    weight: Tensor<2>,
    rows: Tensor<1, Int>,
    cols: Tensor<1, Int>,
    delta: Tensor<2>,
) -> Tensor<2> {
    let dtype = weight.dtype();
    let block = gather(weight.clone(), rows.clone(), cols.clone()).cast(FloatDType::F32);
    let block = block.add(delta).cast(FloatDType::from(dtype));
    let touched_rows = weight.clone().select(0, rows.clone()).select_assign(
        1,
        cols,
        block,
        IndexingUpdateOp::Assign,
    );
    weight.select_assign(0, rows, touched_rows, IndexingUpdateOp::Assign)
}
