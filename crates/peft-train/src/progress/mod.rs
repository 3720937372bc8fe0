//! A run's progress where there is no terminal: in pipes, log files and batch jobs.
//!
//! On a terminal, Burn's own dashboard is shown. A progress bar would be no third way: bars draw
//! nothing where there is no terminal, so plain lines are all that is needed beside it.

mod latest;
mod lines;

pub use lines::{LinesOptions, LinesRenderer};
