//! Failures that must lose nothing.

use std::path::Path;

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_peft::core::method::Attachments;
use burn_peft::core::store::AdapterFile;
use burn_peft::core::{Catalogue, Method, Params, Plan, Record};
use burn_peft::train::report::{RunReport, RunStatus};
use burn_peft::train::run::latest_checkpoint;
use serde_json::Value;

use crate::{STEPS, checkpoint, course, dora_with_dropout, launch, losia, planned, saving, turn};

type Result<T> = std::result::Result<T, burn_peft::core::Error>;

/// What goes wrong when a method merges.
#[derive(Clone, Copy, PartialEq)]
pub enum Sabotage {
    /// A weight becomes zero: the merged model is not the trained one.
    Zeroes,
    Panics,
    /// The method says that its ranks are not decided.
    Undecided,
}

struct Sabotaged {
    method: Box<dyn Method>,
    sabotage: Sabotage,
    adapted: Option<ParamId>,
}

impl Method for Sabotaged {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn attach(&mut self, catalogue: &Catalogue) -> Result<Attachments> {
        let attachments = self.method.attach(catalogue)?;
        self.adapted = attachments.adapters.first().map(|(id, _)| *id);
        Ok(attachments)
    }

    fn initialize(&mut self, params: &Params) -> Result<Plan> {
        self.method.initialize(params)
    }

    fn observe(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Option<Tensor<1>>> {
        self.method.observe(step, params, grads)
    }

    fn update(
        &mut self,
        step: usize,
        params: &Params,
        grads: &mut GradientsParams,
    ) -> Result<Plan> {
        self.method.update(step, params, grads)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        self.method.learning_rate(step)
    }

    fn settle(&self, step: usize, params: &Params) -> Result<Plan> {
        assert!(self.sabotage != Sabotage::Panics, "out of memory");
        if self.sabotage == Sabotage::Undecided {
            return Err(burn_peft::core::Error::NotAllocated { steps: step, last_cut: step });
        }
        let mut plan = self.method.settle(step, params)?;
        let id = self.adapted.unwrap();
        plan.set(id, params.matrix(id).unwrap().zeros_like());
        Ok(plan)
    }

    fn detach(&self, params: &Params) -> Result<Plan> {
        self.method.detach(params)
    }

    fn export(&self, step: usize, params: &Params) -> Result<Option<AdapterFile>> {
        self.method.export(step, params)
    }

    fn record(&self, params: &Params) -> Result<Record> {
        self.method.record(params)
    }

    fn restore(&mut self, step: usize, record: &Record, params: &Params) -> Result<Plan> {
        self.method.restore(step, record, params)
    }
}

/// `method`, which `sabotage` happens to, and its configuration.
pub fn sabotaged(
    (method, config): (Box<dyn Method>, Value),
    sabotage: Sabotage,
) -> (Box<dyn Method>, Value) {
    (Box::new(Sabotaged { method, sabotage, adapted: None }), config)
}

#[test]
fn a_merge_that_is_refused_loses_nothing() {
    let _turn = turn();
    let load_it = "load the adapter in";
    check_unmerged(Sabotage::Zeroes, "the merged model's logits differ", load_it, true);
    check_unmerged(Sabotage::Panics, "out of memory", load_it, true);
}

/// An adapter whose ranks are not decided must not be used.
#[test]
fn an_undecided_adapter_is_not_written() {
    let _turn = turn();
    let train_on = "train to the end of the schedule";
    check_unmerged(Sabotage::Undecided, "the rank budget was never allocated", train_on, false);
}

fn check_unmerged(sabotage: Sabotage, reason: &str, hint: &str, has_adapter: bool) {
    let out = tempfile::tempdir().unwrap();
    let make = |total: usize| sabotaged(dora_with_dropout(total), sabotage);
    let error = launch(planned(&make, out.path(), None)).map(|_| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(reason) && message.contains("checkpoint-18"), "{message}");
    assert!(error.hint().unwrap().contains(hint));
    assert_eq!(out.path().join("adapter/adapter_model.safetensors").exists(), has_adapter);
    let report = RunReport::read(out.path()).unwrap();
    assert_eq!((report.status, report.error), (RunStatus::Failed, Some(message)));

    // The trained state is whole: the right method merges it.
    let from = latest_checkpoint(out.path()).unwrap().path.unwrap();
    let finished = launch(planned(&dora_with_dropout, out.path(), Some(&from))).unwrap();
    assert_eq!((finished.status, finished.tokens), (RunStatus::Completed, 0));
}

/// `/dev/full` takes no byte.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let metrics = out.path().join("metrics.jsonl");
    std::os::unix::fs::symlink("/dev/full", &metrics).unwrap();
    let error = launch(saving(&losia, out.path(), 1)).map(|_| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("cannot write") && message.contains("metrics.jsonl"), "{message}");
    assert!(error.hint().unwrap().contains("free some space"));
    assert_eq!(RunReport::read(out.path()).unwrap().status, RunStatus::Failed);

    std::fs::remove_file(&metrics).unwrap();
    assert_eq!(launch(planned(&losia, out.path(), None)).unwrap().steps, STEPS);
}

/// As the zeros that a loss of power leaves in a file whose length was already on the disk.
#[test]
fn a_damaged_log_does_not_keep_a_run_from_going_on() {
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let whole = launch(saving(&losia, out.path(), 6)).unwrap();
    let (path, want) = (out.path().join("metrics.jsonl"), course(out.path()));
    let mut lines = std::fs::read(&path).unwrap();
    let last = lines.len() - 1; // of the newline
    lines[last - 500..last].fill(0);
    std::fs::write(&path, lines).unwrap();

    let resumed = launch(planned(&losia, out.path(), Some(&checkpoint(out.path(), 12)))).unwrap();
    assert!(resumed.notes.is_empty(), "what is damaged was to be written again");
    assert_eq!((course(out.path()), resumed.best), (want, whole.best));

    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, lines.replacen("\"step\":2,", "\0", 1)).unwrap();
    let resumed = launch(planned(&losia, out.path(), Some(&checkpoint(out.path(), 12)))).unwrap();
    let [note] = &resumed.notes[..] else { panic!("{:?}", resumed.notes) };
    assert!(note.contains("cut at a damaged line") && note.contains("metrics.jsonl:2"), "{note}");
    assert_eq!(RunReport::read(out.path()).unwrap().notes, resumed.notes);
    let steps = course(out.path()).into_iter().map(|[step, ..]| step.as_u64().unwrap());
    assert_eq!(steps.take(3).collect::<Vec<_>>(), [1, 12, 13], "a lost validation is made up for");
}

#[test]
fn a_vanished_output_folder_is_named() {
    let _turn = turn();
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = launch(planned(&losia, &file, None)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    let nowhere = Path::new("/proc/nowhere");
    let error = launch(planned(&losia, nowhere, None)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("/proc/nowhere"), "{error}");
}
