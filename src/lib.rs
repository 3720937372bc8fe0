//! Parameter-efficient fine-tuning for [Burn](https://burn.dev): the façade of three crates.
//!
//! - [`core`]: methods (LoSiA, AdaLoRA, LoRA, DoRA, PiSSA), the adapter hook, adapter files, the one
//!   step function;
//! - [`llama`]: LLaMA and Gemma decoders from and to Hugging Face checkpoints, tokenizer, chat
//!   templates, generation;
//! - [`train`]: configuration files, data, runs on Burn's Learner, resume, evaluation, reports.
//!
//! Import the crate you need; each works without the ones after it. Backends are features of the
//! same names as Burn's (`flex`, `ndarray`, `wgpu`, `cuda`).

pub use peft_core as core;
pub use peft_llama as llama;
pub use peft_train as train;

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
