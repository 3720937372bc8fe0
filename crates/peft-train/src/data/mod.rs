//! From a dataset's file to batches of token ids.
//!
//! [`read_jsonl`] gives [`Example`]s, [`tokenize`] makes [`Sample`]s of them, and a
//! [`BatchLoader`] hands them to the Learner as [`Batch`]es, in an order that is a pure function
//! of the seed, the epoch and the position ([`epoch_order`]).

mod batch;
mod format;
mod jsonl;
mod loader;
mod order;
mod tokenize;

pub use batch::{Batch, PAD_TO_MULTIPLE_OF};
pub use format::{DataFormat, Example, LineProblem, alpaca_prompt};
pub use jsonl::{JsonlDataset, read_jsonl};
pub use loader::BatchLoader;
pub use order::epoch_order;
pub use tokenize::{Encode, IGNORE_INDEX, Sample, TokenizeOptions, Tokenized, tokenize};
