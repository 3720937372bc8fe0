//! Values read back from a device.

use burn::tensor::{Tensor, TensorData};

/// Reads `tensor` into memory of its own. [`Tensor::into_data`] may give a view of the device's
/// staging memory, which wgpu (Burn 0.22.1) writes to again while the view lives: values kept for
/// longer than the next reading were seen to change.
pub fn to_host<const D: usize>(tensor: Tensor<D>) -> TensorData {
    let data = tensor.into_data();
    TensorData::from_bytes_vec(data.as_bytes().to_vec(), data.shape().to_vec(), data.dtype())
}

/// Whether all of it is finite.
pub(crate) fn is_finite<const D: usize>(tensor: Tensor<D>) -> bool {
    tensor.is_finite().all().into_scalar::<bool>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    #[test]
    fn values_type_and_shape_are_those_of_the_tensor() {
        let data = TensorData::from([[1.5_f32, -0.0], [f32::MAX, 3.0]]);
        let tensor = Tensor::<2>::from_data(data.clone(), &device());
        assert_eq!(to_host(tensor.clone()), data);
        assert_eq!(to_host(tensor.slice([0..0, 0..2])).shape().to_vec(), [0, 2]);
    }
}
