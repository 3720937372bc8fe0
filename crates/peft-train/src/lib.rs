//! Fine-tuning runs on Burn's Learner: data, resume, evaluation, reports.
//!
//! A [`TypedConfig`](config::TypedConfig) is read from one TOML file, a [`Plan`](plan::Plan) is made of
//! it without loading a weight, and then trained. Underneath, [`data`] turns datasets into batches, a
//! [`Run`](run::Run) trains a model with a method through `SupervisedTraining`, [`evaluate()`] scores
//! it, and [`report`] is what a run leaves in its output folder for other programs.

pub mod config;
pub mod data;
mod error;
mod evaluate;
mod folder;
mod hash;
pub mod inspect;
mod merge;
mod panics;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
mod staged;
mod threads;
mod trained;
mod verify;

pub use error::Error;
pub use evaluate::{EvaluateOptions, evaluate};
pub use folder::{write_adapter, write_model};
pub use merge::{Adapted, load_adapted, merge};
pub use panics::silence_caught_panics;
pub use threads::join_compute_threads;
