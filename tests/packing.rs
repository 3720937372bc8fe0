//! A packed batch has the loss and the gradients of the batch of its documents.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use burn_peft::llama::{CausalLm, Checkpoint, cross_entropy_sum};
use burn_peft::train::data::{Batch, Sample, pack};

fn device() -> Device {
    peft_testing::device().autodiff()
}

fn model(case: &str) -> CausalLm {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case);
    Checkpoint::open(dir).unwrap().load(&device(), None, |_| ()).unwrap().0.train()
}

/// Samples of 3 to 13 tokens, longer than Gemma 2's window of 5. Every other one learns its first
/// token, too, as plain text does.
fn samples() -> Vec<Sample> {
    let sample = |index: usize| {
        let ids = (0..3 + index * 7 % 11).map(|at| ((index * 31 + at * at * 7) % 96) as u32);
        let input_ids: Vec<u32> = ids.collect();
        let label = |(at, &id): (usize, &u32)| match at + index % 2 {
            0 => -100,
            _ => i64::from(id),
        };
        let labels = input_ids.iter().enumerate().map(label).collect();
        Sample::new(input_ids, labels)
    };
    (0..9).map(sample).collect()
}

/// Loss and gradients by the order of parameters.
fn loss_and_gradients(model: &CausalLm, samples: &[Sample]) -> (f32, Vec<Vec<f32>>) {
    let batch = Batch::collate(&samples.iter().collect::<Vec<_>>(), &device());
    let mask = Some(batch.attention_mask);
    let logits = model.forward_packed(batch.input_ids, mask, &batch.document_starts);
    let loss = cross_entropy_sum(logits, batch.labels).0;
    let gradients = loss.backward();
    let mut all = Collect { gradients: &gradients, found: Vec::new() };
    model.visit(&mut all);
    (loss.try_into_scalar().unwrap(), all.found)
}

struct Collect<'a> {
    gradients: &'a Gradients,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).unwrap();
        self.found.push(gradient.try_into_vec_as::<f32>().unwrap());
    }
}

/// The largest difference of two vectors, as a share of the largest element.
fn relative_difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn packing_changes_no_loss_and_no_gradient() {
    let alone = samples();
    let packed = pack(alone.clone(), 24, 0);
    assert!(packed.len() * 2 < alone.len(), "{} rows", packed.len());
    for case in ["llama_tiny", "gemma_tiny", "gemma2_tiny"] {
        let model = model(case);
        let (want_loss, want) = loss_and_gradients(&model, &alone);
        let (loss, got) = loss_and_gradients(&model, &packed);
        assert!((loss - want_loss).abs() < 1e-5 * want_loss, "{case}: {loss} {want_loss}");
        for (got, want) in got.iter().zip(&want) {
            let difference = relative_difference(want, got);
            assert!(difference < 2e-5, "{case}: {difference}");
        }
    }
}

#[test]
fn without_borders_documents_would_disturb_each_other() {
    let model = model("gemma2_tiny");
    let mut packed = pack(samples(), 24, 0);
    let (want, _) = loss_and_gradients(&model, &packed);
    packed.iter_mut().for_each(|row| row.document_starts.clear());
    let (mixed, _) = loss_and_gradients(&model, &packed);
    assert!((mixed - want).abs() > 1e-2 * want, "{mixed} {want}");
}
