//! What can be wrong with one object of a dataset.

use std::fmt;

use super::DataFormat;

/// Where in its file an example stands, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a JSONL file, or that in which a record of a CSV file begins.
    Line(usize),
    /// An element of a JSON array, or a row of a parquet file.
    Row(usize),
}

impl fmt::Display for Place {
    /// What follows the file's path in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, ":{line}"),
            Self::Row(row) => write!(f, ", row {row}"),
        }
    }
}

/// Why an object of a dataset is not an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at byte {column}")]
    NotUtf8 {
        /// The first bad byte of the line, counted from 1.
        column: usize,
    },
    /// The text is not JSON.
    #[error("invalid JSON at byte {column}: {reason}")]
    NotJson {
        /// Where the parser stopped in the line, counted from 1.
        column: usize,
        /// The parser's reason.
        reason: String,
    },
    /// The bytes are no record of a CSV file.
    #[error("invalid CSV: {reason}")]
    NotCsv {
        /// Why not.
        reason: String,
    },
    /// The JSON value is not an object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of value.
        found: &'static str,
    },
    /// A key of the format is missing.
    #[error("missing key `{key}` (format {format}); found {}", found.join(", "))]
    MissingKey {
        /// The key; `messages[0].role` for one inside a list.
        key: String,
        /// The format that needs it.
        format: DataFormat,
        /// The object's keys.
        found: Vec<String>,
    },
    /// A key's value has another type.
    #[error("key `{key}`: expected {expected}, found {found}")]
    WrongType {
        /// The key; `messages[0].role` for one inside a list.
        key: String,
        /// What is accepted.
        expected: &'static str,
        /// The kind of value.
        found: &'static str,
    },
    /// There is nothing to learn.
    #[error("key `{key}`: expected an answer, found only white space")]
    EmptyAnswer {
        /// The key.
        key: String,
    },
    /// A conversation in which the assistant says nothing.
    #[error("key `{key}`: expected a message of the assistant, found {found}")]
    NoAnswer {
        /// The key.
        key: String,
        /// The roles of its messages, or that there are none.
        found: String,
    },
}
