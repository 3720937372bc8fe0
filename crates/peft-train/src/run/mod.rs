//! A fine-tuning run on Burn's Learner, from a plan to a merged model.
//!
//! A [`Run`] survives what happens to it: it writes checkpoints that hold what training changed,
//! [`latest_checkpoint`] finds the newest whole one, and a run resumed from it ends with the same
//! bits as one that was never interrupted. [`Run::interrupter`] stops it at the next opportunity.

mod checkpoint;
mod clock;
mod config;
mod fingerprint;
mod finish;
mod identity;
mod journal;
mod launch;
mod lock;
mod loss_scale;
mod model;
mod no_log;
mod outcome;
mod panics;
mod plan;
mod prepare;
mod saver;
mod session;
mod state;
mod training;
mod validation;
mod window;

pub(crate) use checkpoint::list as list_checkpoints;
pub use checkpoint::{
    CheckpointManifest, FileDigest, LatestCheckpoint, Progress, latest_checkpoint,
};
pub use config::TrainConfig;
pub use finish::Finished;
pub(crate) use identity::settings;
pub use identity::{BaseIdentity, RunIdentity};
pub use launch::Run;
pub(crate) use lock::OutputLock;
pub use loss_scale::LossScale;
pub use model::{BatchLoss, FineTune};
pub(crate) use panics::caught;
pub use plan::RunPlan;
pub(crate) use prepare::is_same;
