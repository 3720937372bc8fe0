//! What a run writes into its output folder: `run.json` ([`RunReport`]) and `metrics.jsonl`
//! ([`MetricsLog`]) for other programs, and a picture of AdaLoRA's ranks ([`RankHistory`]).

mod atomic;
mod memory;
mod metrics_log;
mod ranks;
mod run;

pub(crate) use atomic::write_atomic;
pub use memory::peak_memory_bytes;
pub use metrics_log::MetricsLog;
pub use ranks::RankHistory;
pub use run::{RunReport, RunStatus, Scores};
