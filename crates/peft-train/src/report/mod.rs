//! What a run writes into its output folder: `run.json` ([`RunReport`]) and `metrics.jsonl`
//! ([`MetricsLog`], read back as [`History`]) for other programs, pictures of the losses, the
//! learning rate, AdaLoRA's ranks ([`RankHistory`]) and LoSiA's subnets ([`SelectionHistory`]), and
//! `report.md` for people ([`write_report`]).

mod atomic;
mod data;
mod history;
mod markdown;
mod memory;
mod metrics_log;
mod plot;
mod run;

pub(crate) use atomic::{TEMPORARY, write_atomic};
pub use data::{DataReport, DatasetReport};
pub use history::{History, LoggedStep};
pub use markdown::write_report;
pub use memory::{device_memory_bytes, peak_memory_bytes};
pub use metrics_log::{LoggedEvaluation, MetricsLog, ResumedLog};
pub use plot::{RankHistory, SelectionHistory};
pub use run::{RunReport, RunStatus, Scores};

/// What a run leaves beside `metrics.jsonl`, in its output folder.
pub(crate) const FILES: [&str; 6] = [
    RunReport::FILE_NAME,
    markdown::FILE_NAME,
    History::LOSS_FILE_NAME,
    History::LEARNING_RATE_FILE_NAME,
    RankHistory::FILE_NAME,
    SelectionHistory::FILE_NAME,
];
