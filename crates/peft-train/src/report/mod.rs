//! What a run writes into its output folder for other programs to read: `run.json`
//! ([`RunReport`]) and `metrics.jsonl` ([`MetricsLog`]).

mod atomic;
mod memory;
mod metrics_log;
mod run;

pub(crate) use atomic::write_atomic;
pub use memory::peak_memory_bytes;
pub use metrics_log::MetricsLog;
pub use run::{RunReport, RunStatus, Scores};
