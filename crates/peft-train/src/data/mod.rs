//! From datasets to batches of token ids.
//!
//! [`prepare`] is the whole way: it finds the files of each [`DatasetConfig`] on this machine or on
//! the [`Hub`], [`read_dataset`] gives [`Example`]s, [`tokenize`] makes [`Sample`]s of them, some
//! are held back for validation, the others repeated or thinned out by weight, and [`pack`] puts
//! several into a row. A [`BatchLoader`] hands them to the Learner as [`Batch`]es, in an order that
//! is a pure function of the seed, the epoch and the position ([`epoch_order`]).

mod alpaca;
mod batch;
mod cache;
mod chat;
mod config;
mod encode;
mod error;
mod example;
mod files;
mod format;
mod hub;
mod loader;
mod mix;
mod object;
mod order;
mod pack;
mod prepare;
mod problem;
mod read;
mod sample;
mod share;
mod tokenize;

pub use alpaca::alpaca_prompt;
pub use batch::{Batch, PAD_TO_MULTIPLE_OF};
pub use config::DatasetConfig;
pub use encode::Encode;
pub use error::DataError;
pub use example::Example;
pub use format::{Columns, DataFormat};
pub use hub::Hub;
pub use loader::{BatchLoader, Part};
pub use order::epoch_order;
pub use pack::pack;
pub use peft_llama::ChatMessage;
pub(crate) use prepare::is_hub_name;
pub use prepare::{DataOptions, Prepared, PreparedDataset, prepare};
pub use problem::{Place, Problem};
pub use read::{Dataset, Origin, ReadOptions, read_dataset, read_jsonl};
pub use sample::{IGNORE_INDEX, Sample};
pub use tokenize::{TokenizeOptions, Tokenized, tokenize};
