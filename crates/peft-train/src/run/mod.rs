//! A fine-tuning run on Burn's Learner, from a plan to a merged model.
//!
//! A [`Run`] survives what happens to it: it writes checkpoints that hold what training changed,
//! [`latest_checkpoint`] finds the newest whole one, and a run resumed from it ends with the same
//! bits as one that was never interrupted. [`Run::interrupter`] stops it at the next opportunity.

mod checkpoint;
mod claim;
mod clock;
mod config;
mod evaluations;
mod fingerprint;
mod finish;
mod identity;
mod journal;
mod launch;
mod lock;
mod loss_scale;
mod model;
mod no_log;
mod optimizer;
mod outcome;
mod patience;
mod plan;
mod prepare;
mod saver;
mod segments;
mod session;
mod state;
mod training;
mod validation;
mod window;

pub use checkpoint::{
    CheckpointManifest, FileDigest, LatestCheckpoint, Progress, latest_checkpoint,
};
pub(crate) use checkpoint::{list as list_checkpoints, read_record, stored_tensors};
pub(crate) use claim::{Claim, base_stays, earlier_result, goes_on, lies_in};
pub use config::TrainConfig;
pub use finish::Finished;
pub use identity::{BaseIdentity, RunIdentity};
pub(crate) use identity::{hash_samples, settings};
pub use launch::Run;
pub(crate) use lock::OutputLock;
pub use loss_scale::LossScale;
pub use model::{BatchLoss, FineTune};
pub(crate) use outcome::About;
pub use plan::RunPlan;
pub(crate) use segments::Segments;
