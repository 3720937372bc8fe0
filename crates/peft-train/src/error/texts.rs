//! The texts of all errors, as a snapshot.

use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;

use peft_testing::every_variant;

use super::Error;
use crate::config::{Place, Problem, Problems};
use crate::data::DataError;

fn samples() -> Vec<Error> {
    let path = || "run".into();
    let checkpoint = || Some("run/checkpoint-500".into());
    let io = |kind: ErrorKind| Error::Io {
        action: "write",
        path: "run/run.json".into(),
        source: io::Error::from(kind),
    };
    let full = || io(ErrorKind::StorageFull).into();
    let json = || serde_json::from_str::<usize>("{").unwrap_err();
    let problem = || Problem {
        place: Some(Place::Line("run.toml".into(), 7)),
        message: "unknown key `peroid`".into(),
        hint: Some("did you mean `period`?".into()),
    };
    let setting =
        || peft_core::Error::Setting { key: "r", found: "0".into(), expected: "at least 1" };
    let reason = || "out of memory".to_string();
    every_variant!(Error {
        Error::Io { .. } => [
            io(ErrorKind::NotFound),
            io(ErrorKind::PermissionDenied),
            io(ErrorKind::StorageFull),
            io(ErrorKind::ReadOnlyFilesystem),
            io(ErrorKind::IsADirectory),
            io(ErrorKind::NotADirectory),
            io(ErrorKind::TimedOut),
        ],
        Error::Serialize { .. } => [
            Error::Serialize { path: "run/run.json".into(), source: json() },
        ],
        Error::Config(_) => [
            Error::Config(Problems(vec![problem()])),
            Error::Config(Problems(vec![problem(), problem()])),
        ],
        Error::Vocabulary { .. } => [Error::Vocabulary { token: 32000, vocab_size: 32000 }],
        Error::AdapterMisfit { .. } => [
            Error::AdapterMisfit { path: path(), source: setting() },
        ],
        Error::NothingToInspect { .. } => [Error::NothingToInspect { path: path() }],
        Error::NoBase { .. } => [Error::NoBase { path: path() }],
        Error::ResultMissing { .. } => [Error::ResultMissing { path: path(), missing: "final" }],
        Error::Data(_) => [Error::Data(DataError::FileType { path: "data.txt".into() })],
        Error::Method(_) => [Error::Method(setting())],
        Error::Model(_) => [Error::Model(peft_llama::Error::Logits)],
        Error::Checkpoint { .. } => [
            Error::Checkpoint { path: path(), reason: "`seed` was 1, and is 2".into() },
        ],
        Error::OutputDirInUse { .. } => [
            Error::OutputDirInUse { path: path(), found: "run/final".into() },
        ],
        Error::BaseReplaced { .. } => [Error::BaseReplaced { path: "run/final".into() }],
        Error::NothingToResume { .. } => [Error::NothingToResume { path: path() }],
        Error::OutputDirLocked { .. } => [Error::OutputDirLocked { path: path() }],
        Error::Unsaved { .. } => [
            Error::Unsaved { steps: 500, source: full(), last: checkpoint() },
            Error::Unsaved { steps: 500, source: full(), last: None },
        ],
        Error::AllDamaged { .. } => [
            Error::AllDamaged {
                path: "run".into(),
                reasons: vec![
                    Error::checkpoint(std::path::Path::new("run/checkpoint-9"), "was never finished"),
                    Error::checkpoint(std::path::Path::new("run/checkpoint-6"), "lists no `optimizer.bpk`"),
                ],
            },
        ],
        Error::Diverged { .. } => [
            Error::Diverged { step: 7, reason: "the loss is not finite".into(), last: None },
            Error::Diverged { step: 7, reason: "a reason".into(), last: checkpoint() },
        ],
        Error::Unmerged { .. } => [
            Error::Unmerged {
                source: full(),
                checkpoint: checkpoint(),
                adapter: Some("run/adapter".into()),
            },
            Error::Unmerged { source: full(), checkpoint: None, adapter: None },
        ],
        Error::Unwritten { .. } => [
            Error::Unwritten { source: full(), checkpoint: checkpoint() },
            Error::Unwritten { source: full(), checkpoint: None },
        ],
        Error::Device { .. } => [Error::Device { reason: reason() }],
        Error::TotalSteps { .. } => [Error::TotalSteps { method: 10, run: 20 }],
        Error::NoValidation { .. } => [
            Error::NoValidation { key: "eval_steps", value: NonZeroUsize::MIN },
        ],
        Error::EarlyStopping { .. } => [Error::EarlyStopping { method: "adalora" }],
        Error::MergeMismatch { .. } => [
            Error::MergeMismatch { difference: 0.02, bound: 0.001 },
        ],
        Error::Plot { .. } => [
            Error::Plot { path: "run/loss.svg".into(), reason: "no space left".into() },
        ],
        Error::Training { .. } => [Error::Training { reason: reason() }],
        Error::DataParallelSize { .. } => [Error::DataParallelSize { devices: 2, expected: 1 }],
        Error::MainDevice { .. } => [
            Error::MainDevice { model: "Flex".into(), first: "Cuda(0)".into() },
        ],
        Error::FewSamples { .. } => [Error::FewSamples { samples: 1, devices: 2 }],
        Error::ShardedOptimizer => [Error::ShardedOptimizer],
        Error::BadReport { .. } => [
            Error::BadReport { path: "run/run.json".into(), source: json() },
        ],
        Error::BadMetricsLine { .. } => [
            Error::BadMetricsLine { path: "run/metrics.jsonl".into(), line: 7, source: json() },
        ],
    })
}

#[test]
fn a_run_in_place_of_something_else_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, run) = (|name: &str| dir.path().join(name), dir.path().display());
    let model = Error::from(peft_llama::Error::Io {
        path: path("config.json"),
        source: ErrorKind::NotFound.into(),
    });
    let adapter = Error::from(peft_core::Error::File {
        path: path("adapter_config.json"),
        problem: "it is absent".into(),
        hint: "check the path",
    });
    let none = Error::read(&path("config.toml"))(ErrorKind::NotFound.into());
    assert_eq!(adapter.hint().unwrap(), "check the path");
    assert_eq!(none.hint().unwrap(), format!("`{run}` is no run: it has no config.toml"));
    std::fs::write(path("run.json"), "{}").unwrap();
    assert!(model.hint().unwrap().ends_with(&format!("give its model, `{run}/final`")));
    assert!(adapter.hint().unwrap().contains(&format!("give `{run}/adapter` or one")));
}

#[test]
fn texts() {
    insta::assert_snapshot!(peft_testing::texts(&samples(), Error::hint));
}
