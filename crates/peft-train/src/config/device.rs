//! The devices of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a device, or of several that share the batches of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Devices {
    /// One device.
    One(String),
    /// Several devices, of which the first makes the method's decisions and steps.
    Several(Vec<String>),
}

impl Devices {
    /// Their names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl From<&str> for Devices {
    fn from(name: &str) -> Self {
        Self::One(name.into())
    }
}
