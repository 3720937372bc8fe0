//! Properties every method must have. A method is one line in `methods.rs` and inherits them all.
//!
//! | property | tested in |
//! |---|---|
//! | only the method's parameters move, frozen tensors keep their bits | `identity.rs`; outside LoSiA's blocks `tests/merge.rs` |
//! | a fresh adapter is the identity | `identity.rs` |
//! | saved and loaded under another seed: same outputs, same parameters | `files.rs`, `resume.rs` |
//! | merged = unmerged = reloaded; merging twice, unmerging, NaN and infinity | `merging.rs`, `files.rs`; bf16 and f16 `precision.rs` |
//! | AdaLoRA is never merged or written before its ranks are decided | `undecided.rs` |
//! | disabling restores the base, also while merged | `switching.rs` |
//! | exactly the method's tensors require gradients, also after loading | `flags.rs` |
//! | f32, bf16 and f16 are finite and close | `precision.rs` |
//! | recomputing activations gives the same gradients | `gradients.rs` |
//! | targets: names, expressions, exclusions, layers; nothing matched is an error that lists what exists | `targets.rs`, `src/target`; patterns `src/adapter/lora/config.rs` |
//! | settings survive JSON; misfits are refused by key | `src/settings.rs`; ranges `src/adapter/*/config.rs` |
//! | gradients equal those of dense autodiff | `gradients.rs` |
//! | k steps, a resume and n − k steps are n steps, bit for bit | `resume.rs`; data order, dropout, dense optimizer `tests/resume` of the root package |
//! | two backends agree | `precision.rs` |

#[path = "../common/mod.rs"]
mod common;
mod files;
mod flags;
mod gradients;
mod identity;
mod inspect;
mod merging;
mod methods;
mod precision;
mod resume;
mod switching;
mod targets;
mod undecided;

use burn::optim::GradientsParams;
use burn::tensor::{Device, TensorData};
use common::{Batch, Mlp};
use inspect::output;
use methods::Candidate;
use peft_core::{Method, Record, Tuner, TunerConfig};

/// Steps of a run: long enough for moves, cuts and compaction.
const STEPS: usize = 18;

const SEED: u64 = 0;
/// Gives every random method another start.
const OTHER_SEED: u64 = 7;

/// A method on a model, with batches to train on.
struct Run {
    tuner: Tuner,
    model: Mlp,
    batches: Vec<Batch>,
}

impl Run {
    fn new(candidate: &Candidate, device: &Device) -> Self {
        Self::on(candidate, Mlp::new(device, true), device)
    }

    fn on(candidate: &Candidate, model: Mlp, device: &Device) -> Self {
        Self::of(candidate.method(SEED), model, device)
    }

    fn of(method: Box<dyn Method>, model: Mlp, device: &Device) -> Self {
        let (tuner, model) =
            Tuner::attach(method, TunerConfig::default(), model).expect("attaches");
        Self { tuner, model, batches: common::batches(device, 4) }
    }

    fn trained(candidate: &Candidate, device: &Device) -> Self {
        let mut run = Self::new(candidate, device);
        run.train(STEPS);
        run
    }

    /// A fresh run with another seed that goes on from `record`.
    fn restored(candidate: &Candidate, record: &Record, device: &Device) -> Self {
        let mut run = Self::of(candidate.method(OTHER_SEED), Mlp::new(device, true), device);
        run.model = run.tuner.restore(run.model, record).expect("restores");
        run
    }

    /// Losses before each of `count` steps.
    fn train(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let batch = &self.batches[self.tuner.steps() % self.batches.len()];
                let loss = self.model.loss(batch);
                let value = loss.clone().into_scalar::<f32>();
                let grads = GradientsParams::from_grads(loss.backward(), &self.model);
                let model = self.model.clone();
                let step = self.tuner.step(model, &mut common::optim(), grads);
                self.model = step.expect("steps").0;
                value
            })
            .collect()
    }

    fn output(&self) -> TensorData {
        output(&self.model, &self.batches[0])
    }

    fn record(&self) -> Record {
        self.tuner.record(&self.model).expect("records")
    }
}
