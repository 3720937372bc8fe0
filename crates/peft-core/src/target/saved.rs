//! Modules trained densely beside a method.

use super::named;
use crate::error::no_param;
use crate::{Catalogue, Error, ParamInfo};

/// Parameters trained densely beside a method, as PEFT's `modules_to_save`: all of every module whose
/// path ends with one of the names, at any letter, so that `norm` stands for `input_layernorm` too and
/// `model.norm` for the last norm alone. Beyond PEFT, the path of a parameter, or an end of it from a
/// dot on, names that parameter. No adapter goes to a weight in a module that is named from a dot on, or
/// that is named itself.
///
/// # Errors
/// [`Error::NoMatch`] for the first name that selects nothing.
pub fn modules_to_save<'a>(
    names: &[String],
    catalogue: &'a Catalogue,
) -> Result<Vec<&'a ParamInfo>, Error> {
    let selects = |p: &ParamInfo, name: &str| {
        let in_module = !name.is_empty() && modules_around(&p.path).any(|m| m.ends_with(name));
        in_module || named(&p.path, name)
    };
    for name in names {
        if !catalogue.params().iter().any(|p| selects(p, name)) {
            return Err(no_param("modules_to_save", name, catalogue.params()));
        }
    }
    let selected = |p: &&ParamInfo| names.iter().any(|name| selects(p, name));
    Ok(catalogue.params().iter().filter(selected).collect())
}

/// Whether `name`, in `modules_to_save`, keeps adapters off a weight: PEFT gives none to a module whose
/// path has the name in it, from a dot to a dot.
pub(crate) fn is_saved(param: &ParamInfo, name: &str) -> bool {
    let in_module = format!(".{}.", param.module_path()).contains(&format!(".{name}."));
    in_module || named(&param.path, name)
}

/// Paths of all modules around a parameter.
fn modules_around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(owner(path), |module| owner(module))
}

fn owner(path: &str) -> Option<&str> {
    path.rsplit_once('.').map(|(module, _)| module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;

    #[test]
    fn adapters_are_kept_off_modules_named_from_dot_to_dot_and_off_weights() {
        let weight = Catalogue::of(&Tiny::new()).unwrap().params()[1].clone();
        assert_eq!(weight.path, "layers.0.q_proj.weight");
        for name in ["q_proj", "layers.0", "layers", "0.q_proj", "layers.0.q_proj.weight"] {
            assert!(is_saved(&weight, name), "{name}");
        }
        for name in ["proj", "layers.0.q", "layer", "q_proj.bias", "layers.1", ""] {
            assert!(!is_saved(&weight, name), "{name}");
        }
    }

    #[test]
    fn modules_to_save_are_ends_of_modules_at_any_depth_or_parameters() {
        let catalogue = Catalogue::of(&Tiny::new()).unwrap();
        let saved = |names: &[&str]| -> Result<Vec<&str>, Error> {
            let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
            let saved = modules_to_save(&names, &catalogue)?;
            Ok(saved.iter().map(|param| param.path.as_str()).collect())
        };
        assert_eq!(saved(&["lm_head"]).unwrap(), ["lm_head.weight"]);
        let of_q_proj = ["layers.0.q_proj.weight", "layers.0.q_proj.bias"];
        assert_eq!(saved(&["0.q_proj"]).unwrap(), of_q_proj);
        assert_eq!(saved(&["q_proj"]).unwrap().len(), 2 * 3, "freq_proj's weight too, as in PEFT");
        assert_eq!(saved(&["layers.1"]).unwrap().len(), 5);
        assert_eq!(saved(&["norm.beta"]).unwrap(), ["layers.0.norm.beta", "layers.1.norm.beta"]);
        assert_eq!(saved(&["lm_head", "lm_head.weight"]).unwrap().len(), 1, "once");
        assert!(saved(&[]).unwrap().is_empty());
        // The start of a module's name, an end of a parameter's, nothing.
        for name in ["q_pro", "eta", ""] {
            let error = saved(&["lm_head", name]).unwrap_err();
            let message =
                format!("`modules_to_save` = {name:?} matches no parameter of this model");
            assert_eq!(error.to_string(), message);
            assert!(error.hint().unwrap().starts_with("this model has: embed.weight, "));
        }
    }
}
