//! The regulariser that keeps P and Q orthogonal, and its gradient in closed form: no loss has to
//! know of it.

use burn::tensor::Tensor;

use super::Orthogonality;

/// `‖MᵀM − I‖` (or its square) of the columns of `m: [d, r]`, `[1]`, and its gradient, `[d, r]`.
pub(super) fn of_columns(m: Tensor<2>, form: Orthogonality) -> (Tensor<1>, Tensor<2>) {
    let gram = m.clone().transpose().matmul(m.clone());
    let (value, slope) = deviation(gram, form);
    (value, m.matmul(slope))
}

/// The same of the rows of `m: [r, d]`.
pub(super) fn of_rows(m: Tensor<2>, form: Orthogonality) -> (Tensor<1>, Tensor<2>) {
    let gram = m.clone().matmul(m.clone().transpose());
    let (value, slope) = deviation(gram, form);
    (value, slope.matmul(m))
}

/// With `G = gram − I`: `‖G‖` and `2G/‖G‖`, or `‖G‖²` and `4G`, `[r, r]`.
fn deviation(gram: Tensor<2>, form: Orthogonality) -> (Tensor<1>, Tensor<2>) {
    let [r, _] = gram.dims();
    let g = gram.clone().sub(Tensor::eye(r, &gram.device()));
    let squared = g.clone().mul(g.clone()).sum();
    match form {
        Orthogonality::SquaredSum => (squared, g.mul_scalar(4.0)),
        Orthogonality::MeanNorm => {
            let norm = squared.sqrt();
            // At exact orthogonality the norm has no gradient; zero is one of its subgradients.
            let divisor = norm.clone().clamp_min(f32::MIN_POSITIVE).unsqueeze();
            (norm, g.mul_scalar(2.0).div(divisor))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, floats};

    fn matrix() -> Tensor<2> {
        Tensor::from_data([[0.5, -1.0, 0.25], [0.75, 0.5, -0.5]], &device())
    }

    /// The value as PyTorch code writes it, for autodiff.
    fn dense(m: Tensor<2>, form: Orthogonality) -> Tensor<1> {
        let gram = m.clone().matmul(m.transpose());
        let g = gram - Tensor::eye(2, &device().autodiff());
        let squared = g.powi_scalar(2).sum();
        match form {
            Orthogonality::MeanNorm => squared.sqrt(),
            Orthogonality::SquaredSum => squared,
        }
    }

    #[test]
    fn value_and_gradient_are_those_of_autodiff() {
        for form in [Orthogonality::MeanNorm, Orthogonality::SquaredSum] {
            let leaf = matrix().autodiff().require_grad();
            let want = dense(leaf.clone(), form);
            let want_grad = floats(&leaf.grad(&want.backward()).unwrap().into_data());
            let want = floats(&want.into_data());
            let (value, grad) = of_rows(matrix(), form);
            let (other, transposed) = of_columns(matrix().transpose(), form);
            assert_eq!(floats(&value.clone().into_data()), floats(&other.into_data()));
            assert!((floats(&value.into_data())[0] - want[0]).abs() < 1e-6);
            for grad in [grad, transposed.transpose()] {
                for (got, want) in floats(&grad.into_data()).iter().zip(&want_grad) {
                    assert!((got - want).abs() < 1e-5, "{form:?}: {got} against {want}");
                }
            }
        }
    }

    #[test]
    fn an_orthogonal_matrix_has_no_penalty_and_no_gradient() {
        let (value, grad) = of_rows(Tensor::eye(3, &device()), Orthogonality::MeanNorm);
        assert_eq!(floats(&value.into_data()), [0.0]);
        assert_eq!(floats(&grad.into_data()), [0.0; 9]);
    }
}
