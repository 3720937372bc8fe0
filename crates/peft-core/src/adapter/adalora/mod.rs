//! AdaLoRA (Zhang et al., ICLR 2023): `ΔW = P Λ Q`, trained with a rank budget that goes to the
//! weights that need it.

mod allocate;
mod config;
mod cut;
mod delta;
mod method;
mod peft;
mod penalty;
mod record;
mod target;

pub use allocate::Allocation;
pub use config::{AdaLoraConfig, Orthogonality, RankImportance};
pub use delta::AdaLoraDelta;
pub use method::AdaLora;
