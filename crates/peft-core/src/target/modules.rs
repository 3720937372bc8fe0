//! A selection of modules by name or expression.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::named;
use crate::Error;

const ALL_LINEAR: &str = "all-linear";

/// Selection of modules by name, as Hugging Face PEFT's `target_modules` means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a list of module names, or a regular expression")]
pub enum TargetModules {
    /// `"all-linear"`: every `Linear`, but for the output head if the method's `output_head` says
    /// which that is. Any other string is a regular expression that must match the whole module path.
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
    /// Every `Linear`, but for the output head if the method's `output_head` says which that is.
    pub fn all_linear() -> Self {
        Self::Pattern(ALL_LINEAR.into())
    }

    /// Whether this is [`all_linear`](Self::all_linear), in letters of either case, as in PEFT.
    pub fn is_all_linear(&self) -> bool {
        matches!(self, Self::Pattern(pattern) if pattern.eq_ignore_ascii_case(ALL_LINEAR))
    }

    /// # Errors
    /// [`Error::Pattern`] for a malformed expression.
    pub(super) fn matcher(&self, key: &'static str) -> Result<Matcher<'_>, Error> {
        Ok(match self {
            Self::Pattern(_) if self.is_all_linear() => Matcher::All,
            Self::Pattern(pattern) => Matcher::Regex(pattern, whole(key, pattern)?),
            Self::Names(names) => Matcher::Names(names),
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

/// A selection, ready to be asked.
pub(super) enum Matcher<'a> {
    All,
    Regex(&'a str, Regex),
    Names(&'a [String]),
}

impl<'a> Matcher<'a> {
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Regex(_, regex) => regex.is_match(path),
            Self::Names(names) => names.iter().any(|name| named(path, name)),
        }
    }

    /// Whether `path` itself is in a list of names, not only an end of it.
    pub fn names_whole(&self, path: &str) -> bool {
        matches!(self, Self::Names(names) if names.iter().any(|name| name == path))
    }

    /// The first entry that matches none of `paths`.
    pub fn idle(&self, paths: &[&str]) -> Option<&'a str> {
        match self {
            Self::All => None,
            Self::Regex(pattern, regex) => {
                (!paths.iter().any(|path| regex.is_match(path))).then_some(*pattern)
            }
            Self::Names(names) => {
                let idle = |name: &&String| !paths.iter().any(|path| named(path, name));
                names.iter().find(idle).map(String::as_str)
            }
        }
    }
}

/// The expression, anchored at both ends.
fn whole(key: &'static str, pattern: &str) -> Result<Regex, Error> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|e| Error::Pattern {
        key,
        pattern: pattern.into(),
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_adapter_configurations_write() {
        let read = |json: &str| serde_json::from_str::<TargetModules>(json);
        assert_eq!(read("\"all-linear\"").unwrap(), TargetModules::all_linear());
        assert!(read("\"All-Linear\"").unwrap().is_all_linear());
        assert!(!read("\"all_linear\"").unwrap().is_all_linear());
        let names = TargetModules::Names(vec!["q_proj".into()]);
        assert_eq!(read("[\"q_proj\"]").unwrap(), names);
        let error = read("7").unwrap_err().to_string();
        assert!(error.starts_with("expected a list of module names, or a regular"), "{error}");
    }

    #[test]
    fn the_first_entry_without_a_match_is_idle() {
        let names = TargetModules::Names(vec!["q_proj".into(), "proj".into(), "v".into()]);
        let idle = |modules: &TargetModules, paths: &[&str]| {
            modules.matcher("exclude_modules").unwrap().idle(paths).map(str::to_string)
        };
        assert_eq!(idle(&names, &["a.q_proj"]).unwrap(), "proj");
        assert_eq!(idle(&names, &["a.q_proj", "b.proj"]).unwrap(), "v");
        assert_eq!(idle(&names, &["q_proj", "proj", "v"]), None);
        let pattern = TargetModules::Pattern("q.*".into());
        assert_eq!(idle(&pattern, &["a.q_proj"]).unwrap(), "q.*", "matches no whole path");
        assert_eq!(idle(&pattern, &["k", "q_proj"]), None);
    }
}
