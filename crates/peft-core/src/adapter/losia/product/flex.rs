//! On Flex the threads share the rows of `x`, and each gathers, multiplies and adds what is in its cache.
//! Composed, gathering and adding take one thread, and every step passes through memory. Only for f32, and
//! for blocks so small that Flex multiplies a chunk in one thread.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::{Bytes, DType, IntDType, Shape};
use rayon::prelude::*;

use super::AddProduct;

/// Rows of `x` that a thread takes at a time. The number of threads has no say in it, nor in the result.
const CHUNK: usize = 128;
/// Products of so many multiplications Flex splits among its threads.
const SPLIT: usize = 192 * 192 * 192;

impl AddProduct for Flex {
    fn add_product(
        y: FlexTensor,
        x: FlexTensor,
        rows: FlexTensor,
        delta: FlexTensor,
        cols: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let [r, c] = dims(&delta);
        match x.dtype() == DType::F32 && CHUNK * r * c < SPLIT {
            true => add_in_chunks(y, x, &positions(rows), &delta, &positions(cols)),
            false => super::add_composed::<Self>(y, x, rows, delta, cols),
        }
    }
}

fn add_in_chunks(
    mut y: FlexTensor,
    x: FlexTensor,
    rows: &[usize],
    delta: &FlexTensor,
    cols: &[usize],
) -> (FlexTensor, FlexTensor) {
    let ([n, d_input], [_, d_output]) = (dims(&x), dims(&y));
    if !y.is_contiguous() {
        y = y.to_contiguous();
    }
    let x = x.to_contiguous();
    let mut picked = FlexTensor::empty(Shape::new([n, rows.len()]), DType::F32);
    let chunks = contiguous_mut(&mut y)
        .par_chunks_mut(CHUNK * d_output)
        .zip(contiguous_mut(&mut picked).par_chunks_mut(CHUNK * rows.len()))
        .zip(x.as_slice::<f32>().expect("contiguous").par_chunks(CHUNK * d_input));
    chunks.for_each(|((y, picked), x)| {
        for (picked, x) in picked.chunks_exact_mut(rows.len()).zip(x.chunks_exact(d_input)) {
            for (picked, &row) in picked.iter_mut().zip(rows) {
                *picked = x[row];
            }
        }
        let update = Flex::float_matmul(matrix(picked, rows.len()), delta.clone());
        let update = update.as_slice::<f32>().expect("a product is contiguous");
        for (y, update) in y.chunks_exact_mut(d_output).zip(update.chunks_exact(cols.len())) {
            for (&col, update) in cols.iter().zip(update) {
                y[col] += update;
            }
        }
    });
    (y, picked)
}

fn dims(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1]]
}

/// Indices as the host uses them.
fn positions(indices: FlexTensor) -> Vec<usize> {
    let indices = Flex::int_cast(indices, IntDType::I64).to_contiguous();
    let indices = indices.as_slice::<i64>().expect("contiguous");
    indices.iter().map(|&index| index as usize).collect() // `Subnet` keeps them in range
}

fn contiguous_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let (start, end) = tensor.layout().contiguous_offsets().expect("made contiguous");
    &mut tensor.storage_mut::<f32>()[start..end]
}

fn matrix(values: &[f32], width: usize) -> FlexTensor {
    let shape = Shape::new([values.len() / width, width]);
    FlexTensor::new(Bytes::from_elems(values.to_vec()), Layout::contiguous(shape), DType::F32)
}
