//! Whether adapter tensors fit their configuration and each other.

use std::fmt;
use std::path::Path;

use burn::tensor::TensorData;

use super::modules::{
    ADALORA_A, ADALORA_B, ADALORA_E, LORA_A, LORA_B, MAGNITUDE, ModuleTensors, Modules, full_name,
    refuse,
};
use super::{AdaLoraFields, AdapterConfig, LoraFields, Patterns, PeftType};
use crate::Error;

/// Checks all modules; errors name `path` as the file of the tensors.
pub(super) fn check(config: &AdapterConfig, modules: &Modules, path: &Path) -> Result<(), Error> {
    if modules.is_empty() {
        return Err(Error::File {
            path: path.into(),
            problem: "holds no adapter tensors".into(),
            hint: "train and save the adapter again",
        });
    }
    match &config.peft_type {
        PeftType::Lora(own) => check_lora(own, modules, path),
        PeftType::AdaLora(own) => check_adalora(own, modules, path),
    }
}

fn check_lora(own: &LoraFields, modules: &Modules, path: &Path) -> Result<(), Error> {
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

fn check_adalora(own: &AdaLoraFields, modules: &Modules, path: &Path) -> Result<(), Error> {
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

/// The module that errors name.
struct At<'a> {
    path: &'a Path,
    module: &'a str,
}

impl At<'_> {
    fn expect<const D: usize>(
        &self,
        end: &str,
        tensor: &TensorData,
        expected: [Dim; D],
    ) -> Result<(), Error> {
        let shape = tensor.shape().as_slice();
        let fits =
            shape.len() == D && shape.iter().zip(&expected).all(|(size, dim)| dim.fits(*size));
        match fits {
            true => Ok(()),
            false => Err(self.refuse(end, format!("has shape {shape:?}, expected {expected:?}"))),
        }
    }

    fn refuse(&self, end: &str, problem: impl Into<String>) -> Error {
        refuse(self.path, &full_name(self.module, end), problem)
    }
}

/// A size as it must be, or one that is the base weight's and not known here.
enum Dim {
    Is(usize),
    Free(&'static str),
}

impl Dim {
    fn fits(&self, size: usize) -> bool {
        match self {
            Self::Is(expected) => size == *expected,
            Self::Free(_) => size > 0,
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(size) => write!(f, "{size}"),
            Self::Free(name) => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TargetModules;
    use crate::store::testing::{adapter, tensor};

    const PATH: &str = "layers.0.q_proj";

    fn error(config: &AdapterConfig, tensors: ModuleTensors) -> String {
        let modules = [(PATH.to_string(), tensors)].into();
        let error = check(config, &modules, Path::new("file")).unwrap_err();
        assert!(error.hint().is_some());
        let start = format!("file: tensor `base_model.model.{PATH}.");
        error.to_string().strip_prefix(&start).expect("file and tensor are named").to_string()
    }

    fn lora_tensors(a: &[usize], b: &[usize], magnitude: Option<&[usize]>) -> ModuleTensors {
        ModuleTensors::Lora { a: tensor(a), b: tensor(b), magnitude: magnitude.map(tensor) }
    }

    fn adalora_tensors(a: &[usize], b: &[usize], e: &[usize]) -> ModuleTensors {
        ModuleTensors::AdaLora { a: tensor(a), b: tensor(b), e: tensor(e) }
    }

    fn lora(edit: impl FnOnce(&mut LoraFields)) -> AdapterConfig {
        let mut own = LoraFields::new(2);
        edit(&mut own);
        AdapterConfig { peft_type: PeftType::Lora(own), ..adapter().config }
    }

    fn adalora(mask: Option<[bool; 3]>) -> AdapterConfig {
        let own = AdaLoraFields {
            init_r: 3,
            target_r: 2,
            tinit: 0,
            tfinal: 0,
            delta_t: 1,
            beta1: 0.85,
            beta2: 0.85,
            orth_reg_weight: 0.5,
            total_step: 10,
            rank_pattern: mask.map(|mask| [(PATH.to_string(), mask.to_vec())].into()),
        };
        AdapterConfig::new(PeftType::AdaLora(own), 8.0, TargetModules::all_linear())
    }

    #[test]
    fn lora_shapes_are_checked_against_rank_and_each_other() {
        let plain = lora(|_| ());
        let cases = [
            (
                lora_tensors(&[3, 4], &[5, 2], None),
                "lora_A.weight` has shape [3, 4], expected [2, in]",
            ),
            (
                lora_tensors(&[2, 4], &[5, 3], None),
                "lora_B.weight` has shape [5, 3], expected [out, 2]",
            ),
            (lora_tensors(&[2], &[5, 2], None), "lora_A.weight` has shape [2], expected [2, in]"),
            (lora_tensors(&[2, 4, 1], &[5, 2], None), "lora_A.weight` has shape [2, 4, 1], "),
            (lora_tensors(&[2, 0], &[5, 2], None), "lora_A.weight` has shape [2, 0], "),
            (lora_tensors(&[2, 4], &[0, 2], None), "lora_B.weight` has shape [0, 2], "),
        ];
        for (tensors, expected) in cases {
            let message = error(&plain, tensors);
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn rank_patterns_say_the_rank() {
        let config = lora(|own| own.rank_pattern = [("q_proj".to_string(), 3)].into());
        let message = error(&config, lora_tensors(&[2, 4], &[5, 2], None));
        assert_eq!(message, "lora_A.weight` has shape [2, 4], expected [3, in]");
        let modules = [(PATH.to_string(), lora_tensors(&[3, 4], &[5, 3], None))].into();
        assert_eq!(check(&config, &modules, Path::new("file")), Ok(()));
    }

    #[test]
    fn magnitudes_belong_to_dora() {
        let (plain, dora) = (lora(|_| ()), lora(|own| own.use_dora = true));
        let with = |shape: &[usize]| lora_tensors(&[2, 4], &[5, 2], Some(shape));
        assert_eq!(
            error(&plain, with(&[5])),
            "lora_magnitude_vector` is present, but `use_dora` is false"
        );
        assert_eq!(
            error(&dora, lora_tensors(&[2, 4], &[5, 2], None)),
            "lora_magnitude_vector` is missing, and `use_dora` is true"
        );
        for wrong in [&[4][..], &[5, 1], &[]] {
            let message = error(&dora, with(wrong));
            let expected = format!("lora_magnitude_vector` has shape {wrong:?}, expected [5]");
            assert_eq!(message, expected);
        }
        let modules = [(PATH.to_string(), with(&[5]))].into();
        assert_eq!(check(&dora, &modules, Path::new("file")), Ok(()));
    }

    #[test]
    fn adalora_masks_say_the_rank() {
        let (full, two) = (adalora(None), adalora(Some([true, false, true])));
        let none = adalora(Some([false; 3]));
        let cases = [
            (
                &full,
                adalora_tensors(&[2, 4], &[5, 2], &[2, 1]),
                "lora_A` has shape [2, 4], expected [3, in]",
            ),
            (
                &two,
                adalora_tensors(&[2, 4], &[5, 3], &[2, 1]),
                "lora_B` has shape [5, 3], expected [out, 2]",
            ),
            (
                &two,
                adalora_tensors(&[2, 4], &[5, 2], &[2]),
                "lora_E` has shape [2], expected [2, 1]",
            ),
            (
                &none,
                adalora_tensors(&[1, 4], &[5, 1], &[1, 1]),
                "lora_A` has shape [1, 4], expected [0, in]",
            ),
        ];
        for (config, tensors, expected) in cases {
            assert_eq!(error(config, tensors), expected);
        }
        for (config, r) in [(&full, 3), (&two, 2), (&none, 0)] {
            let modules = [(PATH.to_string(), adalora_tensors(&[r, 4], &[5, r], &[r, 1]))].into();
            assert_eq!(check(config, &modules, Path::new("file")), Ok(()));
        }
    }

    #[test]
    fn a_mask_without_tensors_is_refused() {
        let modules = [("other".to_string(), adalora_tensors(&[3, 4], &[5, 3], &[3, 1]))].into();
        let error = check(&adalora(Some([true; 3])), &modules, Path::new("file")).unwrap_err();
        let problem =
            format!("tensor `base_model.model.{PATH}.lora_E` is missing, and `rank_pattern`");
        assert!(error.to_string().contains(&problem), "{error}");
    }

    #[test]
    fn tensors_are_of_the_configured_method() {
        let message = error(&lora(|_| ()), adalora_tensors(&[2, 4], &[5, 2], &[2, 1]));
        assert_eq!(message, "lora_A` is no tensor of LORA");
        let message = error(&adalora(None), lora_tensors(&[3, 4], &[5, 3], None));
        assert_eq!(message, "lora_A.weight` is no tensor of ADALORA");
    }
}
