//! When subnets move and how fast they learn: pure functions of the step.

mod learning_rate;
mod slots;

pub use learning_rate::{DenseSchedule, LrScheduler, SubnetSchedule};
pub use slots::{Slots, UpdateType};
