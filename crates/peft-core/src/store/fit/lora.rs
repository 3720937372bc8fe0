//! Whether tensors are those of a LoRA configuration.

use std::path::Path;

use super::{At, Dim};
use crate::Error;
use crate::store::modules::{ADALORA_A, LORA_A, LORA_B, MAGNITUDE, ModuleTensors};
use crate::store::names::Modules;
use crate::store::{LoraFields, Patterns};

/// Checks modules of LoRA and DoRA.
pub(super) fn check(own: &LoraFields, modules: &Modules, path: &Path) -> Result<(), Error> {
    let ranks = Patterns::compile("rank_pattern", &own.rank_pattern)?;
    for (module, tensors) in modules {
        let at = At { path, module };
        let ModuleTensors::Lora { a, b, magnitude } = tensors else {
            return Err(at.refuse(ADALORA_A, "is no tensor of LORA"));
        };
        let r = *ranks.value(module).unwrap_or(&own.r);
        at.expect(LORA_A, a, [Dim::Is(r), Dim::Free("in")])?;
        at.expect(LORA_B, b, [Dim::Free("out"), Dim::Is(r)])?;
        match (magnitude, own.use_dora) {
            (None, false) => (),
            (Some(magnitude), true) => at.expect(MAGNITUDE, magnitude, [Dim::Is(b.shape()[0])])?,
            (None, true) => return Err(at.refuse(MAGNITUDE, "is missing, and `use_dora` is true")),
            (Some(_), false) => {
                return Err(at.refuse(MAGNITUDE, "is present, but `use_dora` is false"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, of};
    use super::*;
    use crate::store::testing::{adapter, tensor};
    use crate::store::{AdapterConfig, PeftType};

    fn tensors(a: &[usize], b: &[usize], magnitude: Option<&[usize]>) -> ModuleTensors {
        ModuleTensors::Lora { a: tensor(a), b: tensor(b), magnitude: magnitude.map(tensor) }
    }

    fn lora(edit: impl FnOnce(&mut LoraFields)) -> AdapterConfig {
        let mut own = LoraFields::new(2);
        edit(&mut own);
        AdapterConfig { peft_type: PeftType::Lora(own), ..adapter().config }
    }

    #[test]
    fn lora_shapes_are_checked_against_rank_and_each_other() {
        let plain = lora(|_| ());
        let cases = [
            (tensors(&[3, 4], &[5, 2], None), "lora_A.weight` has shape [3, 4], expected [2, in]"),
            (tensors(&[2, 4], &[5, 3], None), "lora_B.weight` has shape [5, 3], expected [out, 2]"),
            (tensors(&[2], &[5, 2], None), "lora_A.weight` has shape [2], expected [2, in]"),
            (tensors(&[2, 4, 1], &[5, 2], None), "lora_A.weight` has shape [2, 4, 1], "),
            (tensors(&[2, 0], &[5, 2], None), "lora_A.weight` has shape [2, 0], "),
            (tensors(&[2, 4], &[0, 2], None), "lora_B.weight` has shape [0, 2], "),
        ];
        for (unfit, expected) in cases {
            let message = error(&plain, unfit);
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn rank_patterns_say_the_rank() {
        let config = lora(|own| own.rank_pattern = [("q_proj".to_string(), 3)].into());
        let message = error(&config, tensors(&[2, 4], &[5, 2], None));
        assert_eq!(message, "lora_A.weight` has shape [2, 4], expected [3, in]");
        assert_eq!(of(&config, tensors(&[3, 4], &[5, 3], None)), Ok(()));
    }

    #[test]
    fn magnitudes_belong_to_dora() {
        let (plain, dora) = (lora(|_| ()), lora(|own| own.use_dora = true));
        let with = |shape: &[usize]| tensors(&[2, 4], &[5, 2], Some(shape));
        assert_eq!(
            error(&plain, with(&[5])),
            "lora_magnitude_vector` is present, but `use_dora` is false"
        );
        assert_eq!(
            error(&dora, tensors(&[2, 4], &[5, 2], None)),
            "lora_magnitude_vector` is missing, and `use_dora` is true"
        );
        for wrong in [&[4][..], &[5, 1], &[]] {
            let message = error(&dora, with(wrong));
            let expected = format!("lora_magnitude_vector` has shape {wrong:?}, expected [5]");
            assert_eq!(message, expected);
        }
        assert_eq!(of(&dora, with(&[5])), Ok(()));
    }

    #[test]
    fn tensors_of_adalora_are_refused() {
        let (a, b, e) = (tensor(&[2, 4]), tensor(&[5, 2]), tensor(&[2, 1]));
        let message = error(&lora(|_| ()), ModuleTensors::AdaLora { a, b, e });
        assert_eq!(message, "lora_A` is no tensor of LORA");
    }
}
