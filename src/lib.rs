//! Parameter-efficient fine-tuning for Burn.

pub use peft_core as core;
pub use peft_llama as llama;
pub use peft_train as train;
