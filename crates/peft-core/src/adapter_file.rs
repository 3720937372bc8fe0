//! An adapter file on a base model.

use burn::module::Module;

use crate::adapter::adalora::{AdaLora, AdaLoraConfig};
use crate::adapter::lora::{Lora, LoraConfig};
use crate::store::{AdapterFile, AdapterFiles, PeftType};
use crate::{Catalogue, Error, Method, Tuner, TunerConfig};

impl AdapterFile {
    /// `base` with the adapter: PEFT's are attached to it, LoSiA's blocks are added to its weights. An
    /// AdaLoRA adapter whose ranks were never decided computes with all of them, as in PEFT.
    ///
    /// # Errors
    /// What the adapter's method refuses about it or the base, and for LoSiA [`Error::NotFinite`], as
    /// [`merge`](Self::merge).
    pub fn attach<M: Module>(&self, base: M) -> Result<M, Error> {
        match self {
            Self::Losia(blocks) => blocks.apply(base),
            Self::Peft(files) => Ok(attached(files, base)?.1),
        }
    }

    /// `base` with the adapter folded into its weights.
    ///
    /// # Errors
    /// As [`attach`](Self::attach); [`Error::NotFinite`] where a weight, rounded to the type of the
    /// base, is infinite or not a number, and [`Error::UndecidedRanks`] for an AdaLoRA adapter without
    /// `rank_pattern`.
    pub fn merge<M: Module>(&self, base: M) -> Result<M, Error> {
        match self {
            Self::Losia(blocks) => blocks.apply(base),
            Self::Peft(files) => {
                let (tuner, model) = attached(files, base)?;
                tuner.merge(model)
            }
        }
    }

    /// Checks that the adapter fits a model with the parameters of `catalogue`, whose weights need
    /// not be loaded.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn check(&self, catalogue: &Catalogue) -> Result<(), Error> {
        match self {
            Self::Losia(blocks) => blocks.check(catalogue),
            Self::Peft(files) => method(files)?.attach(catalogue).map(drop),
        }
    }

    /// Elements of all its tensors, those of a block's indices not counted.
    pub fn num_elements(&self) -> usize {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        self.tensors().iter().map(|(_, tensor)| elements(tensor.shape().as_slice())).sum()
    }
}

/// The adapter as a method, attached to `base`.
fn attached<M: Module>(files: &AdapterFiles, base: M) -> Result<(Tuner, M), Error> {
    Tuner::attach(method(files)?, TunerConfig::default(), base)
}

fn method(files: &AdapterFiles) -> Result<Box<dyn Method>, Error> {
    Ok(match files.config.peft_type {
        PeftType::Lora(_) => Box::new(Lora::from_adapter(files, LoraConfig::new(1))?),
        PeftType::AdaLora(_) => Box::new(AdaLora::from_adapter(files, AdaLoraConfig::new(2))?),
    })
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Tensor, TensorData};

    use super::*;
    use crate::store::{AdaLoraFields, AdapterConfig, LoraFields, ModuleTensors, SettledBlocks};
    use crate::subnet::{SettledBlock, Subnet};
    use crate::testing::{device, floats};
    use crate::{ParamInfo, TargetModules};

    #[derive(Module, Debug)]
    struct Model {
        proj: Linear,
    }

    fn model(d_input: usize) -> Model {
        let proj = LinearConfig::new(d_input, 2).with_bias(false).init(&device().autodiff());
        Model { proj }
    }

    /// Adds 2 to every weight of a layer with three inputs and two outputs.
    fn lora() -> AdapterFile {
        let ones = |shape: [usize; 2]| TensorData::ones::<f32, _>(shape);
        let tensors = ModuleTensors::Lora { a: ones([1, 3]), b: ones([2, 1]), magnitude: None };
        let names = TargetModules::Names(vec!["proj".into()]);
        AdapterFile::Peft(Box::new(AdapterFiles {
            config: AdapterConfig::new(PeftType::Lora(LoraFields::new(1)), 2.0, names),
            modules: [("proj".to_string(), tensors)].into(),
            other: [].into(),
        }))
    }

    /// A layer whose path is the end of another's.
    #[derive(Module, Debug)]
    struct Nested {
        proj: Linear,
        inner: Model,
    }

    /// Two triplets of the same layer.
    fn adalora() -> AdapterFiles {
        let fields = AdaLoraFields { init_r: 2, target_r: 1, ..AdaLoraFields::new(10) };
        let ones = |shape: [usize; 2]| TensorData::ones::<f32, _>(shape);
        let tensors = ModuleTensors::AdaLora { a: ones([2, 3]), b: ones([2, 2]), e: ones([2, 1]) };
        let names = TargetModules::Names(vec!["proj".into()]);
        AdapterFiles {
            config: AdapterConfig::new(PeftType::AdaLora(fields), 2.0, names),
            modules: [("proj".to_string(), tensors)].into(),
            other: [].into(),
        }
    }

    #[test]
    fn only_the_modules_of_the_file_are_adapted() {
        let AdapterFile::Peft(lora) = lora() else { panic!() };
        for files in [*lora, adalora()] {
            let base = Nested { proj: model(3).proj, inner: model(3) };
            let (tuner, _) = attached(&files, base).unwrap();
            assert_eq!(tuner.adapted(), ["proj.weight"]);
        }
    }

    /// Adds 1 to the last row.
    fn losia() -> AdapterFile {
        AdapterFile::Losia(SettledBlocks(vec![SettledBlock {
            path: "proj.weight".into(),
            step: 0,
            subnet: Subnet::new(vec![2], vec![0, 1], [3, 2]).unwrap(),
            delta: TensorData::from([[1f32, 1.0]]),
            original: None,
        }]))
    }

    fn added(from: &Model, to: Model) -> Vec<f32> {
        let weight = |model: &Model| -> Tensor<2> { model.proj.weight.val() };
        let difference = weight(&to).sub(weight(from));
        floats(&difference.into_data()).iter().map(|x| x.round()).collect()
    }

    #[test]
    fn every_kind_is_attached_and_merged() {
        for (file, change, elements) in
            [(lora(), [2.0; 6], 5), (losia(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0], 2)]
        {
            let base = model(3);
            assert_eq!(added(&base, file.attach(base.clone()).unwrap()), change);
            assert_eq!(added(&base, file.merge(base.clone()).unwrap()), change);
            assert_eq!(file.num_elements(), elements);
        }
    }

    #[test]
    fn another_base_is_refused_without_its_weights() {
        let catalogue = |d_input: usize, path: &str| -> Catalogue {
            let all = Catalogue::of(&model(d_input)).unwrap();
            let renamed = all.params().iter().map(|p| ParamInfo { path: path.into(), ..p.clone() });
            renamed.collect()
        };
        for file in [lora(), losia()] {
            file.check(&catalogue(3, "proj.weight")).unwrap();
            let shape = file.check(&catalogue(2, "proj.weight")).unwrap_err().to_string();
            assert!(shape.contains("features at `proj`") || shape.contains("subnet"), "{shape}");
            let name = file.check(&catalogue(3, "other.weight")).unwrap_err();
            assert!(matches!(name, Error::NoMatch { .. }), "{name}");
        }
    }
}
