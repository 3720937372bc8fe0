//! Whether tensors are those of an AdaLoRA configuration.

use std::path::Path;

use super::{At, Dim};
use crate::Error;
use crate::store::AdaLoraFields;
use crate::store::modules::{ADALORA_A, ADALORA_B, ADALORA_E, LORA_A, ModuleTensors};
use crate::store::names::Modules;

/// Checks modules of AdaLoRA.
pub(super) fn check(own: &AdaLoraFields, modules: &Modules, path: &Path) -> Result<(), Error> {
    let masks = own.rank_pattern.as_ref();
    if let Some(module) = masks.and_then(|m| m.keys().find(|m| !modules.contains_key(*m))) {
        let problem = "is missing, and `rank_pattern` names it";
        return Err(At { path, module }.refuse(ADALORA_E, problem));
    }
    for (module, tensors) in modules {
        let at = At { path, module };
        let ModuleTensors::AdaLora { a, b, e } = tensors else {
            return Err(at.refuse(LORA_A, "is no tensor of ADALORA"));
        };
        let mask = masks.and_then(|masks| masks.get(module));
        let r = mask.map_or(own.init_r, |mask| mask.iter().filter(|kept| **kept).count());
        at.expect(ADALORA_A, a, [Dim::Is(r), Dim::Free("in")])?;
        at.expect(ADALORA_B, b, [Dim::Free("out"), Dim::Is(r)])?;
        at.expect(ADALORA_E, e, [Dim::Is(r), Dim::Is(1)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PATH, error, of};
    use super::*;
    use crate::TargetModules;
    use crate::store::testing::tensor;
    use crate::store::{AdapterConfig, PeftType};

    fn tensors(a: &[usize], b: &[usize], e: &[usize]) -> ModuleTensors {
        ModuleTensors::AdaLora { a: tensor(a), b: tensor(b), e: tensor(e) }
    }

    fn adalora(mask: Option<[bool; 3]>) -> AdapterConfig {
        let own = AdaLoraFields {
            init_r: 3,
            target_r: 2,
            rank_pattern: mask.map(|mask| [(PATH.to_string(), mask.to_vec())].into()),
            ..AdaLoraFields::new(10)
        };
        AdapterConfig::new(PeftType::AdaLora(own), 8.0, TargetModules::all_linear())
    }

    #[test]
    fn adalora_masks_say_the_rank() {
        let (full, two) = (adalora(None), adalora(Some([true, false, true])));
        let none = adalora(Some([false; 3]));
        let cases = [
            (
                &full,
                tensors(&[2, 4], &[5, 2], &[2, 1]),
                "lora_A` has shape [2, 4], expected [3, in]",
            ),
            (
                &two,
                tensors(&[2, 4], &[5, 3], &[2, 1]),
                "lora_B` has shape [5, 3], expected [out, 2]",
            ),
            (&two, tensors(&[2, 4], &[5, 2], &[2]), "lora_E` has shape [2], expected [2, 1]"),
            (
                &none,
                tensors(&[1, 4], &[5, 1], &[1, 1]),
                "lora_A` has shape [1, 4], expected [0, in]",
            ),
        ];
        for (config, unfit, expected) in cases {
            assert_eq!(error(config, unfit), expected);
        }
        for (config, r) in [(&full, 3), (&two, 2), (&none, 0)] {
            assert_eq!(of(config, tensors(&[r, 4], &[5, r], &[r, 1])), Ok(()));
        }
    }

    #[test]
    fn a_mask_without_tensors_is_refused() {
        let modules = [("other".to_string(), tensors(&[3, 4], &[5, 3], &[3, 1]))].into();
        let error = super::super::check(&adalora(Some([true; 3])), &modules, Path::new("file"))
            .unwrap_err();
        let problem =
            format!("tensor `base_model.model.{PATH}.lora_E` is missing, and `rank_pattern`");
        assert!(error.to_string().contains(&problem), "{error}");
    }

    #[test]
    fn tensors_of_lora_are_refused() {
        let (a, b) = (tensor(&[3, 4]), tensor(&[5, 3]));
        let message = error(&adalora(None), ModuleTensors::Lora { a, b, magnitude: None });
        assert_eq!(message, "lora_A.weight` is no tensor of ADALORA");
    }
}
