//! `rank_pattern` and `alpha_pattern`: values for modules whose path matches an expression.

use indexmap::IndexMap;
use regex::Regex;

use crate::Error;

/// Patterns and their values, compiled to be asked for many modules.
#[derive(Debug)]
pub struct Patterns<'a, T> {
    rules: Vec<(Regex, &'a str, &'a T)>,
}

impl<'a, T> Patterns<'a, T> {
    /// Compiles `patterns`, the value of the configuration key `key`. A pattern must match a whole
    /// module path, or its end from a dot on.
    ///
    /// # Errors
    /// [`Error::Pattern`] for a malformed expression.
    pub fn compile(key: &'static str, patterns: &'a IndexMap<String, T>) -> Result<Self, Error> {
        let rules = patterns.iter().map(|(pattern, value)| {
            let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let refuse = |e: regex::Error| Error::Pattern {
                key,
                pattern: pattern.clone(),
                reason: e.to_string(),
            };
            Ok((regex.map_err(refuse)?, pattern.as_str(), value))
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// The value of the first pattern that matches, in the order of the configuration.
    pub fn value(&self, module_path: &str) -> Option<&'a T> {
        let rule = self.rules.iter().find(|(regex, ..)| regex.is_match(module_path));
        rule.map(|(.., value)| *value)
    }

    /// The first pattern that matches none of the modules.
    pub fn idle(&self, module_paths: &[&str]) -> Option<&'a str> {
        let idle = |(regex, ..): &&(Regex, _, _)| !module_paths.iter().any(|p| regex.is_match(p));
        self.rules.iter().find(idle).map(|(_, pattern, _)| *pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "model.layers.1.self_attn.q_proj";

    fn value(patterns: &[(&str, usize)], path: &str) -> Option<usize> {
        let patterns = patterns.iter().map(|(pattern, value)| (pattern.to_string(), *value));
        let patterns = patterns.collect();
        Patterns::compile("rank_pattern", &patterns).unwrap().value(path).copied()
    }

    #[test]
    fn a_pattern_matches_a_path_or_its_end_from_a_dot_on() {
        for pattern in ["q_proj", "self_attn.q_proj", PATH, r"layers\.[12]\..*", "^model.*", ".*"] {
            assert_eq!(value(&[(pattern, 3)], PATH), Some(3), "{pattern}");
        }
        for pattern in ["_proj", "self_attn", "model", "^layers.*", r"layers\.2\..*", ""] {
            assert_eq!(value(&[(pattern, 3)], PATH), None, "{pattern}");
        }
        assert_eq!(value(&[("k_proj|q_proj", 3)], PATH), Some(3), "either, not a part of one");
        assert_eq!(value(&[("q|q_pro", 3)], PATH), None);
    }

    #[test]
    fn the_first_match_wins() {
        let both = [("self_attn.*", 1), ("q_proj", 2)];
        assert_eq!(value(&both, PATH), Some(1));
        assert_eq!(value(&[both[1], both[0]], PATH), Some(2));
        assert_eq!(value(&both, "model.layers.1.self_attn.k_proj"), Some(1));
        assert_eq!(value(&both, "model.layers.1.mlp.up_proj"), None);
    }

    #[test]
    fn a_malformed_pattern_is_refused_by_key_and_pattern() {
        let patterns = IndexMap::from([("q_proj".to_string(), 1), ("k_(".to_string(), 2)]);
        let error = Patterns::compile("alpha_pattern", &patterns).unwrap_err();
        let start = "`alpha_pattern` = \"k_(\" is not a valid regular expression: ";
        assert!(error.to_string().starts_with(start), "{error}");
        assert!(error.hint().unwrap().contains("look-around"));
    }
}
