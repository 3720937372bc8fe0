//! LoRA (Hu et al., 2021) with its variants rsLoRA, DoRA (Liu et al., 2024), PiSSA (Meng et al.,
//! 2024) and LoRA+ (Hayou et al., 2024): a trained product of two small matrices beside each
//! frozen weight.

mod config;
mod delta;
mod init;
mod method;
mod peft;
mod target;

pub use config::{LoraConfig, LoraInit};
pub use delta::LoraDelta;
pub use method::Lora;
