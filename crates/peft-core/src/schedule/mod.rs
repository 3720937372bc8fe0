//! When subnets move, how many ranks are kept and how fast parameters learn: pure functions of the
//! step.

mod budget;
mod learning_rate;
mod slots;

pub use budget::{BudgetSchedule, Phase};
pub(crate) use learning_rate::check_learning_rate;
pub use learning_rate::{Decay, DenseSchedule, LrScheduler, SubnetSchedule};
pub use slots::{Slots, UpdateType};
