//! A fine-tuning run on Burn's Learner.

mod checkpoint;
mod config;
mod launch;
mod model;
mod session;

pub use checkpoint::{CheckpointManifest, latest_checkpoint};
pub use config::TrainConfig;
pub use launch::{Finished, Run, RunPlan};
pub use model::{BatchLoss, FineTune};
