//! LoSiA and LoSiA-Pro (Wang et al., EMNLP 2025): find the sub-block of each weight that matters,
//! train only it, and move it periodically.

mod config;
mod delta;
mod method;
mod product;
mod record;
mod select;
mod slot;
mod target;

pub use config::LosiaConfig;
pub use delta::SubnetDelta;
pub use method::Losia;
pub use slot::Relocalization;
pub use target::LosiaTarget;
