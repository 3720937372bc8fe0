//! Parameter-efficient fine-tuning methods for [Burn](burn).
//!
//! This crate knows tensors and parameters; it knows no model, no dataset and no terminal.
//!
//! A [`Method`] is attached to any Burn module by a [`Tuner`], whose [`step`](Tuner::step) is
//! called with the gradients of each batch:
//!
//! ```no_run
//! use burn::module::Module;
//! use burn::optim::{AdamConfig, GradientsParams};
//! use burn::tensor::Tensor;
//! use peft_core::adapter::losia::{Losia, LosiaConfig};
//! use peft_core::{Tuner, TunerConfig};
//!
//! # fn example<M: Module>(model: M, loss: impl Fn(&M) -> Tensor<1>) -> Result<M, peft_core::Error> {
//! let method = Losia::new(LosiaConfig::new(1000).with_rank_factor(0.125))?;
//! let (mut tuner, mut model) = Tuner::attach(method, TunerConfig::default(), model)?;
//! let mut optim = AdamConfig::new().init(); // steps what is trained densely, if anything
//! for _ in 0..1000 {
//!     let grads = GradientsParams::from_grads(loss(&model).backward(), &model);
//!     (model, _) = tuner.step(model, &mut optim, grads)?;
//! }
//! tuner.merge(model)
//! # }
//! ```
//!
//! The model needs no change: adapters are Burn reparameterizations. A model that calls the
//! [`hook`] instead of `Linear::forward` gets them computed on activations, without dense weights
//! and dense gradients.

pub mod adapter;
mod adapter_file;
mod adapters;
mod catalogue;
mod dense;
mod device;
mod error;
pub mod gradients;
pub mod hook;
mod host;
mod importance;
pub mod method;
mod optimizer;
mod outline;
mod params;
mod plan;
mod record;
mod rng;
pub mod schedule;
mod settings;
pub mod store;
pub mod subnet;
pub mod target;
#[cfg(test)]
mod testing;
mod tuner;
mod visit;

pub use adapters::Adapters;
pub use catalogue::{Catalogue, ParamInfo};
pub use device::{device_by_name, gpu_memory, is_cpu, multiplies_in_f32};
pub use error::Error;
pub use host::to_host;
pub use importance::{Importance, Sensitivity};
pub use method::{Event, Method};
pub use optimizer::Optimizer;
pub use outline::{AdaptedWeight, Outline};
pub use params::Params;
pub use plan::Plan;
pub use record::Record;
pub use target::{TargetModules, Targeting};
pub use tuner::{ParamCounts, StepReport, Tuner, TunerConfig};
pub use visit::{Place, VisitFloat, visit_floats};
