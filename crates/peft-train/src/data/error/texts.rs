//! The texts of all errors, as a snapshot.

use peft_testing::every_variant;

use super::super::{DataFormat, Place, Problem};
use super::DataError;

fn problems() -> Vec<Problem> {
    let key = || "messages[0].role".to_string();
    every_variant!(Problem {
        Problem::NotUtf8 { .. } => [Problem::NotUtf8 { column: 7 }],
        Problem::NotJson { .. } => [
            Problem::NotJson { column: 7, reason: "expected `:`".into() },
        ],
        Problem::NotCsv { .. } => [
            Problem::NotCsv { reason: "3 fields, and the header has 2".into() },
        ],
        Problem::NotAnObject { .. } => [Problem::NotAnObject { found: "an array" }],
        Problem::MissingKey { .. } => [
            Problem::MissingKey {
                key: key(),
                format: DataFormat::Messages,
                found: vec!["content".into(), "name".into()],
            },
        ],
        Problem::WrongType { .. } => [
            Problem::WrongType { key: key(), expected: "a string", found: "a number" },
        ],
        Problem::EmptyAnswer { .. } => [Problem::EmptyAnswer { key: "output".into() }],
        Problem::NoAnswer { .. } => [
            Problem::NoAnswer { key: "messages".into(), found: "user".into() },
        ],
    })
}

fn samples() -> Vec<DataError> {
    let path = || "data/train.jsonl".into();
    let place = Place::Line(7);
    let (repo, revision) = (|| "org/name".to_string(), || "main".to_string());
    let bad = |problem| DataError::BadExample { path: path(), place: Place::Row(7), problem };
    let setting = |key| DataError::Setting {
        dataset: repo(),
        key,
        found: "0".into(),
        expected: "above 0 and at most 100".into(),
    };
    let refused = |source: peft_llama::Error| DataError::Refused {
        path: path(),
        place,
        part: "conversation",
        source: source.into(),
    };
    let no_samples = || DataError::NoSamples { sequence_len: 8, dropped: 3 };
    let mut samples = every_variant!(DataError {
        DataError::BadExample { .. } => [
            DataError::BadExample { path: path(), place, problem: Problem::NotUtf8 { column: 7 } },
        ],
        DataError::UnknownFormat { .. } => [
            DataError::UnknownFormat { path: path(), place, found: vec!["question".into()] },
        ],
        DataError::NoExamples { .. } => [
            DataError::NoExamples { path: path(), skipped: 0 },
            DataError::NoExamples { path: path(), skipped: 3 },
        ],
        DataError::FileType { .. } => [DataError::FileType { path: "data.txt".into() }],
        DataError::Damaged { .. } => [
            DataError::Damaged { path: "data.parquet".into(), reason: "it is cut off".into() },
        ],
        DataError::NoDataFiles { .. } => [
            DataError::NoDataFiles {
                dataset: repo(),
                split: "test".into(),
                reason: "found train.jsonl".into(),
            },
        ],
        DataError::NotCached { .. } => [
            DataError::NotCached {
                repo: repo(),
                revision: revision(),
                cache: "/cache".into(),
                reason: "it was never fetched".into(),
                instead: "give the path of a file",
            },
        ],
        DataError::Fetch { .. } => [
            DataError::Fetch { repo: repo(), revision: revision(), reason: "status 404".into() },
        ],
        DataError::Setting { .. } => [setting("weight"), setting("columns")],
        DataError::ValSetSize { .. } => [DataError::ValSetSize { found: 9.0, samples: 5 }],
        DataError::Tokenize { .. } => [
            DataError::Tokenize { example: 2, part: "prompt", source: "it is too long".into() },
        ],
        DataError::Refused { .. } => [
            refused(peft_llama::Error::ChatTemplateUnset),
            refused(peft_llama::Error::ChatTemplate {
                path: "chat_template.jinja".into(),
                reason: "roles must alternate".into(),
            }),
            DataError::Refused { path: path(), place, part: "prompt", source: "it is too long".into() },
        ],
        DataError::NoSamples { .. } => [no_samples()],
        DataError::Dataset { .. } => [
            DataError::Dataset { dataset: repo(), source: no_samples().into() },
        ],
    });
    samples.extend(problems().into_iter().map(bad));
    samples
}

#[test]
fn texts() {
    insta::assert_snapshot!(peft_testing::texts(&samples(), DataError::hint));
}
