//! Which modules a method adapts, and which are trained densely beside it.

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{Catalogue, Error, ParamInfo};

/// Selection of modules by name, as Hugging Face PEFT's `target_modules` means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// `"all-linear"`: every `Linear` except the output head. Any other string is a regular
    /// expression that must match the whole module path.
    Pattern(String),
    /// Module paths, or suffixes of them that begin at a dot: `q_proj` selects
    /// `model.layers.0.self_attn.q_proj`.
    Names(Vec<String>),
}

impl Default for TargetModules {
    fn default() -> Self {
        Self::all_linear()
    }
}

impl TargetModules {
    /// Every `Linear` except the output head.
    pub fn all_linear() -> Self {
        Self::Pattern("all-linear".into())
    }

    /// The selected `Linear` weights of `catalogue`, in its order, without the one at
    /// `output_head` (a parameter path), which methods treat separately.
    ///
    /// # Errors
    /// [`Error::NoMatch`] if nothing is selected, [`Error::Pattern`] for a malformed expression.
    pub fn select<'a>(
        &self,
        catalogue: &'a Catalogue,
        output_head: Option<&str>,
    ) -> Result<Vec<&'a ParamInfo>, Error> {
        let matches = self.matcher()?;
        let linears: Vec<_> = catalogue
            .params()
            .iter()
            .filter(|p| p.is_linear_weight() && Some(p.path.as_str()) != output_head)
            .collect();
        let selected: Vec<_> =
            linears.iter().copied().filter(|p| matches(p.module_path())).collect();
        if selected.is_empty() {
            return Err(Error::NoMatch {
                key: "target_modules",
                pattern: format!("{self}"),
                available: linears.iter().map(|p| p.module_path().to_string()).collect(),
            });
        }
        Ok(selected)
    }

    fn matcher(&self) -> Result<Box<dyn Fn(&str) -> bool + '_>, Error> {
        Ok(match self {
            Self::Pattern(all) if all == "all-linear" => Box::new(|_| true),
            Self::Pattern(pattern) => {
                let regex =
                    Regex::new(&format!("^(?:{pattern})$")).map_err(|e| Error::Pattern {
                        key: "target_modules",
                        pattern: pattern.clone(),
                        reason: e.to_string(),
                    })?;
                Box::new(move |path| regex.is_match(path))
            }
            Self::Names(names) => Box::new(|path| names.iter().any(|name| named(path, name))),
        })
    }
}

impl std::fmt::Display for TargetModules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(f, "{pattern:?}"),
            Self::Names(names) => write!(f, "{names:?}"),
        }
    }
}

/// Parameters trained densely beside a method, as PEFT's `modules_to_save`: each name is a
/// parameter path, a module path, or a suffix of one of them that begins at a dot.
///
/// # Errors
/// [`Error::NoMatch`] for the first name that selects nothing.
pub fn modules_to_save<'a>(
    names: &[String],
    catalogue: &'a Catalogue,
) -> Result<Vec<&'a ParamInfo>, Error> {
    let selects = |p: &ParamInfo, name: &str| named(&p.path, name) || named(p.module_path(), name);
    for name in names {
        if !catalogue.params().iter().any(|p| selects(p, name)) {
            return Err(Error::NoMatch {
                key: "modules_to_save",
                pattern: format!("{name:?}"),
                available: catalogue.params().iter().map(|p| p.path.clone()).collect(),
            });
        }
    }
    let selected = |p: &&ParamInfo| names.iter().any(|name| selects(p, name));
    Ok(catalogue.params().iter().filter(selected).collect())
}

fn named(path: &str, name: &str) -> bool {
    path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}
