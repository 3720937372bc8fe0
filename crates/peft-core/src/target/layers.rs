//! The layer a module is in.

/// The layer of the module at `path`: the first number among its segments that has two before it and one
/// after it, as PEFT reads it. `None` if there is none.
pub fn layer_number(path: &str) -> Option<usize> {
    let (owner, _module) = path.rsplit_once('.')?;
    owner.split('.').skip(2).find_map(|segment| segment.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;
    use crate::{Catalogue, ParamInfo, TargetModules, Targeting};

    /// Module paths of `Linear`s as they are in a causal language model.
    fn decoder(paths: &[&str]) -> Catalogue {
        let weight = Catalogue::of(&Tiny::new()).unwrap().params()[1].clone();
        paths
            .iter()
            .map(|path| ParamInfo { path: format!("{path}.weight"), ..weight.clone() })
            .collect()
    }

    #[test]
    fn layers_are_taken_as_peft_takes_them() {
        let catalogue = decoder(&[
            "model.layers.0.self_attn.q_proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.1.experts.0.q_proj",
            "layers.1.q_proj",
            "q_proj",
        ]);
        let in_layers = |modules: &TargetModules, layers: &[usize]| -> Vec<String> {
            let layers_to_transform = Some(layers);
            let targeting = Targeting { layers_to_transform, ..Targeting::of(modules) };
            let selected = targeting.select(&catalogue, None).unwrap();
            selected.iter().map(|param| param.module_path().to_string()).collect()
        };
        let names = |names: &[&str]| {
            TargetModules::Names(names.iter().map(|name| name.to_string()).collect())
        };
        let suffix = names(&["q_proj"]);
        let zeroth = in_layers(&suffix, &[0]);
        assert_eq!(zeroth, ["model.layers.0.self_attn.q_proj", "q_proj"], "`q_proj` is a path too");
        let first = ["model.layers.1.self_attn.q_proj", "model.layers.1.experts.0.q_proj"];
        assert_eq!(in_layers(&TargetModules::all_linear(), &[1]), first, "not the expert's number");
        let whole = names(&["layers.1.q_proj", "model.layers.0.self_attn.q_proj"]);
        let taken = ["model.layers.0.self_attn.q_proj", "layers.1.q_proj"];
        assert_eq!(in_layers(&whole, &[1]), taken, "whole paths have no layer to ask for");
    }

    #[test]
    fn a_layer_is_the_first_number_with_two_segments_before_it_and_one_after() {
        for (path, layer) in [
            ("model.layers.12.mlp.up_proj", Some(12)),
            ("model.layers.3.mlp.experts.5.up_proj", Some(3)),
            ("encoder.2.experts.5.proj", Some(5)),
            ("layers.0.q_proj", None),
            ("model.layers.0", None),
            ("lm_head", None),
        ] {
            assert_eq!(layer_number(path), layer, "{path}");
        }
    }

    #[test]
    fn layers_must_be_there() {
        let all = TargetModules::all_linear();
        let targeting = Targeting { layers_to_transform: Some(&[1, 2]), ..Targeting::of(&all) };
        let catalogue = decoder(&["model.layers.0.q_proj", "model.layers.1.q_proj"]);
        let error = targeting.select(&catalogue, None).unwrap_err();
        let message = "`layers_to_transform` = 2 matches no layer of this model";
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint().unwrap(), "this model has: 0, 1");
    }
}
