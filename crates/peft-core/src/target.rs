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

    /// Whether this is every `Linear` except the output head.
    pub fn is_all_linear(&self) -> bool {
        *self == Self::all_linear()
    }

    fn matcher(&self, key: &'static str) -> Result<Matcher<'_>, Error> {
        Ok(match self {
            Self::Pattern(_) if self.is_all_linear() => Matcher::All,
            Self::Pattern(pattern) => Matcher::Regex(whole(key, pattern)?),
            Self::Names(names) => Matcher::Names(names),
        })
    }
}

/// Which `Linear` weights a method adapts.
#[derive(Debug, Clone, Copy)]
pub struct Targeting<'a> {
    /// Modules taken.
    pub target_modules: &'a TargetModules,
    /// Modules left out again.
    pub exclude_modules: Option<&'a TargetModules>,
    /// Layers taken, all unless given. A module's layer is the last number in its path; modules
    /// without one are left out.
    pub layers_to_transform: Option<&'a [usize]>,
}

impl<'a> Targeting<'a> {
    /// Every module `target_modules` selects.
    pub fn of(target_modules: &'a TargetModules) -> Self {
        Self { target_modules, exclude_modules: None, layers_to_transform: None }
    }

    /// The selected `Linear` weights of `catalogue`, in its order, without the one at
    /// `output_head` (a parameter path), which methods treat separately.
    ///
    /// # Errors
    /// [`Error::NoMatch`] if nothing is selected, [`Error::Pattern`] for a malformed expression.
    pub fn select<'c>(
        &self,
        catalogue: &'c Catalogue,
        output_head: Option<&str>,
    ) -> Result<Vec<&'c ParamInfo>, Error> {
        let linears = || {
            let linear = catalogue.params().iter().filter(|p| p.is_linear_weight());
            linear.filter(|p| Some(p.path.as_str()) != output_head)
        };
        let taken = self.target_modules.matcher("target_modules")?;
        let left_out = self.exclude_modules.map(|m| m.matcher("exclude_modules")).transpose()?;
        let selects = |path: &str| {
            taken.matches(path)
                && !left_out.as_ref().is_some_and(|left_out| left_out.matches(path))
                && self.layers_to_transform.is_none_or(|layers| {
                    layer_number(path).is_some_and(|layer| layers.contains(&layer))
                })
        };
        let selected: Vec<_> = linears().filter(|p| selects(p.module_path())).collect();
        match selected.is_empty() {
            false => Ok(selected),
            true => Err(Error::NoMatch {
                key: "target_modules",
                pattern: self.to_string(),
                available: linears().map(|p| p.module_path().to_string()).collect(),
            }),
        }
    }
}

impl std::fmt::Display for Targeting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.target_modules)?;
        if let Some(modules) = self.exclude_modules {
            write!(f, " without {modules}")?;
        }
        match self.layers_to_transform {
            Some(layers) => write!(f, " in layers {layers:?}"),
            None => Ok(()),
        }
    }
}

/// The last number among a path's segments.
fn layer_number(path: &str) -> Option<usize> {
    path.rsplit('.').find_map(|segment| segment.parse().ok())
}

/// A selection, ready to be asked.
enum Matcher<'a> {
    All,
    Regex(Regex),
    Names(&'a [String]),
}

impl Matcher<'_> {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Regex(regex) => regex.is_match(path),
            Self::Names(names) => names.iter().any(|name| named(path, name)),
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

impl std::fmt::Display for TargetModules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pattern(pattern) => write!(f, "{pattern:?}"),
            Self::Names(names) => write!(f, "{names:?}"),
        }
    }
}

/// Parameters trained densely beside a method, as PEFT's `modules_to_save`: each name is the path
/// of a parameter or of a module at any depth, or a suffix of one that begins at a dot.
///
/// # Errors
/// [`Error::NoMatch`] for the first name that selects nothing.
pub fn modules_to_save<'a>(
    names: &[String],
    catalogue: &'a Catalogue,
) -> Result<Vec<&'a ParamInfo>, Error> {
    let selects = |p: &ParamInfo, name: &str| ancestors(&p.path).any(|path| named(path, name));
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

/// The path itself and those of all modules around it.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(module, _)| module))
}

fn named(path: &str, name: &str) -> bool {
    path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;

    fn catalogue() -> Catalogue {
        Catalogue::of(&Tiny::new()).unwrap()
    }

    fn selected(modules: &TargetModules, head: Option<&str>) -> Result<Vec<String>, Error> {
        let catalogue = catalogue();
        let selected = Targeting::of(modules).select(&catalogue, head)?;
        Ok(selected.iter().map(|param| param.path.clone()).collect())
    }

    fn names(names: &[&str]) -> TargetModules {
        TargetModules::Names(names.iter().map(|name| name.to_string()).collect())
    }

    fn pattern(pattern: &str) -> TargetModules {
        TargetModules::Pattern(pattern.into())
    }

    #[test]
    fn selects_by_name_suffix_and_expression() {
        let q_proj = ["layers.0.q_proj.weight", "layers.1.q_proj.weight"];
        assert_eq!(selected(&names(&["q_proj"]), None).unwrap(), q_proj, "not freq_proj");
        assert_eq!(selected(&names(&["1.q_proj", "nothing"]), None).unwrap(), q_proj[1..]);
        assert_eq!(selected(&names(&["layers.0.q_proj"]), None).unwrap(), q_proj[..1]);
        assert_eq!(selected(&pattern(r"layers\.\d\.q_proj"), None).unwrap(), q_proj);
        assert_eq!(selected(&pattern("layers.0.q_proj|lm_head"), None).unwrap().len(), 2);
    }

    #[test]
    fn all_linear_leaves_the_output_head_out() {
        let all = selected(&TargetModules::default(), None).unwrap();
        assert_eq!(all.len(), 5, "{all:?}");
        let without = selected(&TargetModules::default(), Some("lm_head.weight")).unwrap();
        assert_eq!(without, all[..4]);
    }

    #[test]
    fn exclusions_and_layers_narrow_a_selection() {
        let catalogue = catalogue();
        let all = TargetModules::all_linear();
        let paths = |targeting: Targeting| -> Result<Vec<String>, Error> {
            let selected = targeting.select(&catalogue, Some("lm_head.weight"))?;
            Ok(selected.iter().map(|param| param.module_path().to_string()).collect())
        };
        let excluded = names(&["freq_proj"]);
        let without = Targeting { exclude_modules: Some(&excluded), ..Targeting::of(&all) };
        assert_eq!(paths(without).unwrap(), ["layers.0.q_proj", "layers.1.q_proj"]);
        let last = Targeting { layers_to_transform: Some(&[1]), ..without };
        assert_eq!(paths(last).unwrap(), ["layers.1.q_proj"]);
        let none = Targeting { layers_to_transform: Some(&[7]), ..without };
        let message = "`target_modules` = \"all-linear\" without [\"freq_proj\"] in layers [7] \
            matches no parameter of this model";
        assert_eq!(paths(none).unwrap_err().to_string(), message);
        let malformed = pattern("(");
        let error = paths(Targeting { exclude_modules: Some(&malformed), ..last }).unwrap_err();
        assert!(matches!(error, Error::Pattern { key: "exclude_modules", .. }), "{error}");
        assert_eq!(layer_number("encoder.2.experts.5.proj"), Some(5), "as PEFT reads it");
        assert_eq!(layer_number("lm_head"), None);
    }

    #[test]
    fn nothing_selected_is_an_error_that_lists_what_exists() {
        for modules in [
            names(&["k_proj"]),
            names(&["norm", "embed"]),
            names(&["lm_head"]),
            pattern("q_proj"), // matches a part of a path, not the whole
            names(&[]),
        ] {
            let error = selected(&modules, Some("lm_head.weight")).unwrap_err();
            let message =
                format!("`target_modules` = {modules} matches no parameter of this model");
            assert_eq!(error.to_string(), message);
            let hint = error.hint().unwrap();
            let listed = "layers.0.q_proj, layers.0.freq_proj, layers.1.q_proj, layers.1.freq_proj";
            assert_eq!(hint, format!("this model has: {listed}"));
        }
    }

    #[test]
    fn a_malformed_expression_is_refused_as_written() {
        let error = selected(&pattern("q_proj("), None).unwrap_err();
        let start = "`target_modules` = \"q_proj(\" is not a valid regular expression: ";
        assert!(error.to_string().starts_with(start), "{error}");
        assert!(error.hint().unwrap().contains("[\"q_proj\", \"v_proj\"]"));
    }

    #[test]
    fn reads_what_adapter_configurations_write() {
        let read = |json: &str| serde_json::from_str::<TargetModules>(json).unwrap();
        assert_eq!(read("\"all-linear\""), TargetModules::all_linear());
        assert_eq!(read("[\"q_proj\"]"), names(&["q_proj"]));
    }

    #[test]
    fn modules_to_save_are_modules_at_any_depth_or_parameters() {
        let catalogue = catalogue();
        let saved = |names: &[&str]| -> Result<Vec<&str>, Error> {
            let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
            let saved = modules_to_save(&names, &catalogue)?;
            Ok(saved.iter().map(|param| param.path.as_str()).collect())
        };
        assert_eq!(saved(&["lm_head"]).unwrap(), ["lm_head.weight"]);
        assert_eq!(saved(&["layers.1"]).unwrap().len(), 5);
        assert_eq!(saved(&["norm.beta"]).unwrap(), ["layers.0.norm.beta", "layers.1.norm.beta"]);
        assert_eq!(saved(&["lm_head", "lm_head.weight"]).unwrap().len(), 1, "once");
        assert!(saved(&[]).unwrap().is_empty());
        let error = saved(&["lm_head", "proj"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`modules_to_save` = \"proj\" matches no parameter of this model"
        );
        assert!(error.hint().unwrap().starts_with("this model has: embed.weight, "));
    }
}
