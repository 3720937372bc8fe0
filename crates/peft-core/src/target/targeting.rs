//! Which weights a method adapts.

use std::collections::BTreeSet;

use super::TargetModules;
use super::layers::layer_number;
use crate::error::no_match;
use crate::{Catalogue, Error, ParamInfo};

/// Which `Linear` weights a method adapts.
#[derive(Debug, Clone, Copy)]
pub struct Targeting<'a> {
    /// Modules taken.
    pub target_modules: &'a TargetModules,
    /// Modules left out again.
    pub exclude_modules: Option<&'a TargetModules>,
    /// Layers taken, all unless given. As in PEFT, a module's layer is the first number in its path
    /// that has two segments before it and one after it (`model.layers.3.mlp.experts.0.up_proj` is in
    /// layer 3); modules without one are left out, and a module named by its whole path is taken
    /// wherever it is.
    pub layers_to_transform: Option<&'a [usize]>,
}

impl<'a> Targeting<'a> {
    /// Every module `target_modules` selects.
    pub fn of(target_modules: &'a TargetModules) -> Self {
        Self { target_modules, exclude_modules: None, layers_to_transform: None }
    }

    /// The selected `Linear` weights of `catalogue`, in its order, without the one at
    /// `output_head` (a parameter path), which methods treat separately, and without those that are
    /// trained densely instead: see [`modules_to_save`](crate::target::modules_to_save).
    ///
    /// # Errors
    /// [`Error::NoMatch`] if nothing is selected, and for a name, an excluded module or a layer that the
    /// model does not have; [`Error::Pattern`] for a malformed expression.
    pub fn select<'c>(
        &self,
        catalogue: &'c Catalogue,
        output_head: Option<&str>,
    ) -> Result<Vec<&'c ParamInfo>, Error> {
        let linears: Vec<_> = catalogue.params().iter().filter(|p| p.is_linear_weight()).collect();
        self.refuse_unknown_exclusions(&linears)?;
        self.refuse_unknown_layers(&linears)?;
        let taken = self.target_modules.matcher("target_modules")?;
        let left_out = self.exclude_modules.map(|m| m.matcher("exclude_modules")).transpose()?;
        let selects = |path: &str| {
            taken.matches(path)
                && !left_out.as_ref().is_some_and(|left_out| left_out.matches(path))
                && (taken.names_whole(path) || self.is_in_layers(path))
        };
        let candidates = linears.iter().filter(|p| Some(p.path.as_str()) != output_head);
        self.refuse_unknown_names(
            &candidates.clone().map(|p| p.module_path()).collect::<Vec<_>>(),
        )?;
        let adaptable = candidates.filter(|p| !catalogue.saves(p));
        let selected: Vec<_> =
            adaptable.clone().filter(|p| selects(p.module_path())).copied().collect();
        match selected.is_empty() {
            false => Ok(selected),
            true => {
                let available = adaptable.map(|p| p.module_path());
                Err(no_match("target_modules", self, "parameter of this model", available))
            }
        }
    }

    fn is_in_layers(&self, path: &str) -> bool {
        self.layers_to_transform
            .is_none_or(|layers| layer_number(path).is_some_and(|layer| layers.contains(&layer)))
    }

    /// What is named must be there, or it is misspelt and does not train.
    fn refuse_unknown_names(&self, paths: &[&str]) -> Result<(), Error> {
        const KEY: &str = "target_modules";
        let idle = match self.target_modules {
            TargetModules::Names(_) => self.target_modules.matcher(KEY)?.idle(paths),
            TargetModules::Pattern(_) => None, // one that selects nothing is refused for that
        };
        match idle {
            None => Ok(()),
            Some(name) => {
                Err(no_match(KEY, format!("{name:?}"), "linear layer of this model", paths))
            }
        }
    }

    /// What is excluded must be there, or it is misspelt and trains.
    fn refuse_unknown_exclusions(&self, linears: &[&ParamInfo]) -> Result<(), Error> {
        const KEY: &str = "exclude_modules";
        let Some(modules) = self.exclude_modules else { return Ok(()) };
        let paths: Vec<_> = linears.iter().map(|p| p.module_path()).collect();
        match modules.matcher(KEY)?.idle(&paths) {
            None => Ok(()),
            Some(entry) => {
                Err(no_match(KEY, format!("{entry:?}"), "linear layer of this model", paths))
            }
        }
    }

    fn refuse_unknown_layers(&self, linears: &[&ParamInfo]) -> Result<(), Error> {
        let there: BTreeSet<_> =
            linears.iter().filter_map(|p| layer_number(p.module_path())).collect();
        let layers = self.layers_to_transform.unwrap_or_default();
        match layers.iter().find(|layer| !there.contains(layer)) {
            None => Ok(()),
            Some(layer) => {
                Err(no_match("layers_to_transform", layer, "layer of this model", there))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;

    const HEAD: Option<&str> = Some("lm_head.weight");

    fn paths(targeting: Targeting, head: Option<&str>) -> Result<Vec<String>, Error> {
        let catalogue = Catalogue::of(&Tiny::new()).unwrap();
        let selected = targeting.select(&catalogue, head)?;
        Ok(selected.iter().map(|param| param.module_path().to_string()).collect())
    }

    fn selected(modules: &TargetModules, head: Option<&str>) -> Result<Vec<String>, Error> {
        paths(Targeting::of(modules), head)
    }

    fn names(names: &[&str]) -> TargetModules {
        TargetModules::Names(names.iter().map(|name| name.to_string()).collect())
    }

    fn pattern(pattern: &str) -> TargetModules {
        TargetModules::Pattern(pattern.into())
    }

    #[test]
    fn selects_by_name_suffix_and_expression() {
        let q_proj = ["layers.0.q_proj", "layers.1.q_proj"];
        assert_eq!(selected(&names(&["q_proj"]), None).unwrap(), q_proj, "not freq_proj");
        assert_eq!(selected(&names(&["1.q_proj"]), None).unwrap(), q_proj[1..]);
        assert_eq!(selected(&names(&["layers.0.q_proj"]), None).unwrap(), q_proj[..1]);
        assert_eq!(selected(&pattern(r"layers\.\d\.q_proj"), None).unwrap(), q_proj);
        assert_eq!(selected(&pattern("layers.0.q_proj|lm_head"), None).unwrap().len(), 2);
    }

    #[test]
    fn all_linear_leaves_the_output_head_out() {
        let all = selected(&TargetModules::default(), None).unwrap();
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(selected(&TargetModules::default(), HEAD).unwrap(), all[..4]);
    }

    #[test]
    fn exclusions_and_layers_narrow_a_selection() {
        let (all, excluded) = (TargetModules::all_linear(), names(&["freq_proj", "lm_head"]));
        let without = Targeting { exclude_modules: Some(&excluded), ..Targeting::of(&all) };
        assert_eq!(paths(without, HEAD).unwrap(), ["layers.0.q_proj", "layers.1.q_proj"]);
        let none = Targeting { layers_to_transform: Some(&[]), ..without };
        let message = "`target_modules` = \"all-linear\" without [\"freq_proj\", \"lm_head\"] in \
            layers [] matches no parameter of this model";
        assert_eq!(paths(none, HEAD).unwrap_err().to_string(), message);
    }

    #[test]
    fn what_is_named_must_be_there() {
        for (modules, name) in [
            (names(&["q_proj", "v_porj"]), "v_porj"),
            (names(&["q_proj", "lm_head"]), "lm_head"), // which the method treats separately
            (names(&["norm", "embed"]), "norm"),        // no linear layers
        ] {
            let error = selected(&modules, HEAD).unwrap_err();
            let message =
                format!("`target_modules` = {name:?} matches no linear layer of this model");
            assert_eq!(error.to_string(), message);
            assert!(error.hint().unwrap().ends_with("layers.1.freq_proj"), "what there is");
        }
        assert_eq!(selected(&names(&["q_proj", "lm_head"]), None).unwrap().len(), 3);
    }

    #[test]
    fn what_is_excluded_must_be_there() {
        let all = TargetModules::all_linear();
        for (excluded, entry) in [
            (names(&["freq_proj", "freq_prj"]), "freq_prj"),
            (names(&["layers.0"]), "layers.0"), // a module around linear layers, but none itself
            (pattern("q_proj"), "q_proj"),
        ] {
            let targeting = Targeting { exclude_modules: Some(&excluded), ..Targeting::of(&all) };
            let error = paths(targeting, HEAD).unwrap_err();
            let message =
                format!("`exclude_modules` = {entry:?} matches no linear layer of this model");
            assert_eq!(error.to_string(), message);
            assert!(
                error.hint().unwrap().ends_with(", layers.1.freq_proj, lm_head"),
                "all of them"
            );
        }
        let malformed = pattern("(");
        let targeting = Targeting { exclude_modules: Some(&malformed), ..Targeting::of(&all) };
        let error = paths(targeting, None).unwrap_err();
        assert!(matches!(error, Error::Pattern { key: "exclude_modules", .. }), "{error}");
    }

    #[test]
    fn nothing_selected_is_an_error_that_lists_what_exists() {
        for modules in [
            pattern("q_proj"), // matches a part of a path, not the whole
            names(&[]),
        ] {
            let error = selected(&modules, HEAD).unwrap_err();
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
}
