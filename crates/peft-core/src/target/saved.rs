//! Modules trained densely beside a method.

use super::named;
use crate::error::no_param;
use crate::{Catalogue, Error, ParamInfo};

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
            return Err(no_param("modules_to_save", name, catalogue.params()));
        }
    }
    let selected = |p: &&ParamInfo| names.iter().any(|name| selects(p, name));
    Ok(catalogue.params().iter().filter(selected).collect())
}

/// The path itself and those of all modules around it.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(module, _)| module))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;

    #[test]
    fn modules_to_save_are_modules_at_any_depth_or_parameters() {
        let catalogue = Catalogue::of(&Tiny::new()).unwrap();
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
