//! A run's configuration: one flat TOML file, and `key=value` settings that go before it.
//!
//! [`TypedConfig::read`] parses and checks what was typed, key by key, and tells all that is wrong
//! with it at once. What it gives is a [`TrainingConfig`], from which a
//! [`Plan`](crate::plan::Plan) is made.
//!
//! ```
//! use peft_train::config::TypedConfig;
//!
//! let toml = r#"
//!     base_model = "models/Llama-2-7b-hf"
//!     method = "losia-pro"
//!     datasets = [{ path = "meta-math/MetaMathQA", type = "alpaca" }]
//!     output_dir = "runs/first"
//! "#;
//! let typed = TypedConfig::parse(toml, "run.toml", &["period=50".into()])?;
//! assert_eq!(typed.config.period, Some(50));
//!
//! let error = TypedConfig::parse(toml, "run.toml", &["peroid=50".into()]).unwrap_err();
//! assert_eq!(error.to_string(), "command line: unknown key `peroid`");
//! assert_eq!(error.hint().unwrap(), "did you mean `period`?");
//! # Ok::<(), peft_train::Error>(())
//! ```

mod check;
mod defaults;
mod device;
mod elsewhere;
mod keys;
mod lr_scheduler;
mod method;
mod nested;
mod overrides;
mod problem;
mod read;
mod schema;
mod settings;
mod source;
#[cfg(test)]
mod tests;

pub use device::Devices;
pub use lr_scheduler::LrShape;
pub use method::{MethodName, Precision};
pub use problem::{Place, Problem, Problems};
pub use read::TypedConfig;
pub use settings::TrainingConfig;
