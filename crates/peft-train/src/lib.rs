//! Fine-tuning runs on Burn's Learner: data, resume, evaluation, reports.
//!
//! [`data`] turns a JSONL file into batches, a [`Run`](run::Run) trains a model with a method
//! through `SupervisedTraining`, [`evaluate()`] scores it, and [`report`] is what a run leaves in
//! its output folder for other programs.

pub mod data;
mod error;
mod evaluate;
pub mod progress;
pub mod report;
pub mod run;

pub use error::Error;
pub use evaluate::{EvaluateOptions, answers, evaluate};
