//! The operation against its composition.

use burn::tensor::{DType, Distribution};
use peft_testing::device_with;

use super::*;
use crate::multiplies_in_f32;
use crate::testing::{device, floats};

const ROWS: [i64; 4] = [0, 2, 3, 6]; // of 7
const COLS: [i64; 3] = [1, 2, 5]; // of 6

struct Leaves {
    x: Tensor<2>,
    weight: Tensor<2>,
    delta: Tensor<2>,
    transposed: bool,
}

type Product = fn(Tensor<2>, Tensor<2>, Block) -> Tensor<2>;

impl Leaves {
    /// Random values, the same for every device; the bits of `tracked` say which are tracked. Transposed
    /// ones are stored the other way round.
    fn new(device: &Device, n: usize, tracked: u8, transposed: bool) -> Self {
        device.seed(u64::from(tracked));
        let leaf = |shape: [usize; 2], bit: u8| {
            let shape = if transposed { [shape[1], shape[0]] } else { shape };
            let leaf = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
            leaf.detach().set_require_grad(tracked & (1 << bit) != 0)
        };
        let [x, weight, delta] = [([n, 7], 0), ([7, 6], 1), ([4, 3], 2)].map(|(s, b)| leaf(s, b));
        Self { x, weight, delta, transposed }
    }

    /// `y`, and the gradients of a loss that weighs its entries differently and has `x` in it a
    /// second time.
    fn results(&self, product: Product) -> Vec<Option<Vec<f32>>> {
        let device = self.x.device();
        let turned = |tensor: &Tensor<2>| match self.transposed {
            true => tensor.clone().transpose(),
            false => tensor.clone(),
        };
        let block = Block {
            rows: Tensor::from_data(ROWS, &device),
            cols: Tensor::from_data(COLS, &device),
            delta: turned(&self.delta),
        };
        let y = product(turned(&self.x), turned(&self.weight), block);
        let tracked = Tensor::<1>::ones([1], &device).require_grad(); // something always is
        let loss = turned(&y).powi_scalar(3).sum() + self.x.clone().powi_scalar(2).sum() + tracked;
        let mut grads = loss.backward();
        let floats = |tensor: Tensor<2>| floats(&tensor.into_data());
        let leaves = [&self.x, &self.weight, &self.delta];
        let grads = leaves.map(|leaf| leaf.grad_remove(&mut grads).map(floats));
        [Some(floats(y))].into_iter().chain(grads).collect()
    }
}

#[test]
fn results_and_gradients_are_those_of_the_composed_operations() {
    let plain = device().autodiff();
    assert!(has_operation(plain.clone()));
    let tolerance = if multiplies_in_f32(&plain.clone().inner()) { 1e-5 } else { 1e-2 };
    let turned_and_tracked = (0..8).flat_map(|tracked| [(false, tracked), (true, tracked)]);
    for (transposed, tracked) in turned_and_tracked {
        for (n, device) in [(5, plain.clone()), (300, plain.clone().gradient_checkpointing())] {
            let leaves = Leaves::new(&device, n, tracked, transposed);
            let [got, want] = [operation, composed].map(|product| leaves.results(product));
            let is_there = [true, tracked & 1 != 0, tracked & 2 != 0, tracked & 4 != 0];
            let of = ["y", "x", "W", "Δ"].iter().zip(is_there).zip(got.iter().zip(want));
            for ((what, is_there), (got, want)) in of {
                assert_eq!([got.is_some(), want.is_some()], [is_there; 2], "{what}, {tracked}");
                let (got, want) = (got.iter().flatten(), want.iter().flatten());
                let largest = want.clone().fold(0.0, |largest: f32, want| largest.max(want.abs()));
                for (got, want) in got.zip(want) {
                    let off = (got - want).abs();
                    assert!(off <= tolerance * largest, "{what}: {got} against {want}");
                }
            }
        }
    }
}

/// Of so many entries that products with it are split among threads, and in another type.
#[test]
fn large_blocks_and_half_precision_are_composed() {
    for (dtype, device) in [(DType::F32, device()), (DType::BF16, device_with(DType::BF16))] {
        let normal = |shape: [usize; 2]| {
            Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.1), &device).cast(dtype)
        };
        let (x, weight, delta) = (normal([9, 300]), normal([300, 280]), normal([250, 240]));
        let indices = |count: usize| Tensor::<1, Int>::arange(0..count as i64, &device);
        let [got, want] = [operation, composed].map(|product: Product| {
            let block = Block { rows: indices(250), cols: indices(240), delta: delta.clone() };
            floats(&product(x.clone(), weight.clone(), block).into_data())
        });
        let far = got.iter().zip(&want).find(|(got, want)| (*got - *want).abs() > 0.05);
        assert_eq!(far, None, "{dtype:?}");
    }
}
