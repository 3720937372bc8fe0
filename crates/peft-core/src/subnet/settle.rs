//! Adding a trained block into its weight.

use burn::tensor::{DType, FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};

use super::{Subnet, gather};
use crate::Error;
use crate::host::is_finite;

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
    /// The weight's entries before, in its dtype, if they were asked for.
    pub original: Option<TensorData>,
}

impl SettledBlock {
    /// The weight with this block added.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if one of its entries is not, rounded to the weight's type.
    pub fn apply(&self, weight: Tensor<2>) -> Result<Tensor<2>, Error> {
        let device = weight.device();
        let [rows, cols] = self.subnet.to_tensors(&device);
        let delta = Tensor::from_data(self.delta.clone(), (&device, DType::F32));
        let weight = settle(weight, rows.clone(), cols.clone(), delta);
        match is_finite(gather(weight.clone(), rows, cols)) {
            true => Ok(weight),
            false => Err(Error::NotFinite { path: self.path.clone(), step: self.step }),
        }
    }

    /// The weight from before this block was added, bit for bit.
    ///
    /// # Errors
    /// [`Error::Irreversible`] if its original entries were not kept.
    pub fn undo(&self, weight: Tensor<2>) -> Result<Tensor<2>, Error> {
        let device = weight.device();
        let [rows, cols] = self.subnet.to_tensors(&device);
        let original = self.original.clone().ok_or_else(|| Error::Irreversible {
            path: self.path.clone(),
            reason: "blocks were settled into it without a journal",
        })?;
        let original = Tensor::from_data(original, (&device, weight.dtype()));
        Ok(assign(weight, rows, cols, original))
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
    assign(weight, rows, cols, block)
}

/// `W[rows × cols] ← block`, in the dtype of `W`.
fn assign(
    weight: Tensor<2>,
    rows: Tensor<1, Int>,
    cols: Tensor<1, Int>,
    block: Tensor<2>,
) -> Tensor<2> {
    let op = IndexingUpdateOp::Assign;
    let touched_rows = weight.clone().select(0, rows.clone()).select_assign(1, cols, block, op);
    weight.select_assign(0, rows, touched_rows, IndexingUpdateOp::Assign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, device};
    use peft_testing::device_with;

    #[test]
    fn only_the_block_changes_and_minus_zero_stays() {
        let device = device();
        let weight = Tensor::<2>::from_data(
            [[-0.0, 1.0, -0.0], [-0.0, -0.0, 2.0], [3.0, -0.0, -0.0]],
            &device,
        );
        let block = SettledBlock {
            path: "w".into(),
            step: 0,
            subnet: Subnet::new(vec![0, 2], vec![1, 2], [3, 3]).unwrap(),
            delta: TensorData::from([[0.5_f32, -0.0], [0.25, 1.0]]),
            original: Some(TensorData::from([[1.0_f32, -0.0], [-0.0, -0.0]])),
        };
        let want = TensorData::from([
            [-0.0_f32, 1.5, -0.0], // −0 + −0 = −0
            [-0.0, -0.0, 2.0],
            [3.0, 0.25, 1.0],
        ]);
        let settled = block.apply(weight.clone()).unwrap();
        assert_eq!(bits(&settled.clone().into_data()), bits(&want));
        let undone = block.undo(settled).unwrap();
        assert_eq!(bits(&undone.into_data()), bits(&weight.into_data()));
    }

    #[test]
    fn a_half_precision_weight_is_rounded_once() {
        let device = device_with(DType::BF16);
        let weight = Tensor::<2>::from_data([[1.0_f32, 256.0]], (&device, DType::BF16));
        let [rows, cols] = Subnet::new(vec![0], vec![0, 1], [1, 2]).unwrap().to_tensors(&device);
        // The second delta rounded to bf16 by itself would be 1, and 256 + 1 a tie that goes to 256.
        let delta = Tensor::<2>::from_data([[1.0 / 128.0, 1.001_f32]], (&device, DType::F32));
        let settled = settle(weight, rows, cols, delta);
        assert_eq!(settled.dtype(), DType::BF16);
        let values: Vec<f32> = settled.into_data().iter::<f32>().collect();
        assert_eq!(values, [1.0 + 1.0 / 128.0, 258.0]);
    }
}
