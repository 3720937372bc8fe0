//! A fine-tuning run on Burn's Learner.

mod checkpoint;
mod config;
mod finish;
mod launch;
mod model;
mod session;

pub use checkpoint::{CheckpointManifest, latest_checkpoint};
pub use config::TrainConfig;
pub use finish::Finished;
pub use launch::{Run, RunPlan};
pub use model::{BatchLoss, FineTune};
