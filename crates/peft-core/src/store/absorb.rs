//! An AdaLoRA adapter as a LoRA adapter.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use super::{AdapterFiles, LoraFields, ModuleTensors, PeftType};
use crate::Error;
use crate::error::check;

/// Keys that LoRA's configuration has fields for. PEFT writes them for AdaLoRA too, where they do
/// nothing.
const OF_LORA: [&str; 4] = ["r", "use_rslora", "use_dora", "alpha_pattern"];

impl AdapterFiles {
    /// A finished AdaLoRA adapter as plain LORA, singular values absorbed: what serving engines read.
    /// Modules without rank are left out. PEFT finds the rank of each module in `rank_pattern`, and
    /// all are scaled by `lora_alpha / r`, so engines that look at neither pattern are right too.
    ///
    /// # Errors
    /// [`Error::UndecidedRanks`] for an adapter without `rank_pattern`; [`Error::Setting`] for one
    /// without any rank left, and for LORA; [`Error::StoredTensor`] for tensors that do not fit the
    /// configuration.
    pub fn to_lora(&self) -> Result<Self, Error> {
        let PeftType::AdaLora(own) = &self.config.peft_type else {
            let found = "LORA".into();
            return Err(Error::Setting { key: "peft_type", found, expected: "ADALORA" });
        };
        own.rank_pattern.as_ref().ok_or(Error::UndecidedRanks)?;
        self.check()?;
        let ranks = self.modules.iter().map(|(path, tensors)| (path.as_str(), tensors.rank()));
        let ranks: BTreeMap<_, _> = ranks.filter(|(_, rank)| *rank > 0).collect();
        check(!ranks.is_empty(), "rank_pattern", "all false", "a rank left in some module")?;
        let fields = LoraFields::uniform(&ranks, self.config.lora_alpha);
        let alpha_over_r = self.config.lora_alpha / fields.r as f64;
        let factor = self.config.lora_alpha / (own.init_r as f64 + 1e-5) / alpha_over_r;
        let left = self.modules.iter().filter(|(path, _)| ranks.contains_key(path.as_str()));
        let modules = left.map(|(path, tensors)| (path.clone(), tensors.absorbed(factor as f32)));
        let paths = ranks.keys().map(|path| path.to_string()).collect();
        let mut config = self.config.as_lora(fields, paths);
        config.extra.retain(|key, _| !OF_LORA.contains(&key.as_str()));
        Ok(Self { config, modules: modules.collect(), other: self.other.clone() })
    }
}

impl ModuleTensors {
    /// LoRA whose B is `factor` times B and E of AdaLoRA.
    fn absorbed(&self, factor: f32) -> Self {
        let Self::AdaLora { a, b, e } = self else { return self.clone() };
        let e: Vec<f32> = e.iter::<f32>().map(|value| value * factor).collect();
        let values: Vec<f32> = b.iter::<f32>().zip(e.iter().cycle()).map(|(b, e)| b * e).collect();
        let b = TensorData::new(values, b.shape().clone());
        Self::Lora { a: a.clone(), b, magnitude: None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::store::testing::case;

    fn finished() -> AdapterFiles {
        AdapterFiles::read(case("adalora_tiny")).unwrap()
    }

    fn floats(tensor: &TensorData) -> Vec<f64> {
        tensor.iter::<f64>().collect()
    }

    /// `Σ b·e·a` of an entry, by hand.
    fn product(tensors: &ModuleTensors, row: usize, col: usize) -> f64 {
        let (a, b, e) = match tensors {
            ModuleTensors::Lora { a, b, .. } => (a, b, vec![1.0; tensors.rank()]),
            ModuleTensors::AdaLora { a, b, e } => (a, b, floats(e)),
        };
        let (rank, columns) = (tensors.rank(), a.shape()[1]);
        let (a, b) = (floats(a), floats(b));
        (0..rank).map(|k| b[row * rank + k] * e[k] * a[k * columns + col]).sum()
    }

    #[test]
    fn every_reader_of_the_lora_computes_what_the_adalora_does() {
        let (adalora, lora) = (finished(), finished().to_lora().unwrap());
        let PeftType::AdaLora(own) = &adalora.config.peft_type else { panic!() };
        let PeftType::Lora(fields) = &lora.config.peft_type else { panic!() };
        assert_eq!(lora.config.lora_alpha, adalora.config.lora_alpha);
        let without_patterns = lora.config.lora_alpha / fields.r as f64;
        let mut ranks = Vec::new();
        for (path, tensors) in &lora.modules {
            let in_peft = lora.config.scaling(path).unwrap();
            assert!((in_peft / without_patterns - 1.0).abs() < 1e-12, "{path}: {in_peft}");
            let of_adalora = adalora.config.lora_alpha / (own.init_r as f64 + 1e-5);
            let want = of_adalora * product(&adalora.modules[path], 3, 5);
            let got = without_patterns * product(tensors, 3, 5);
            assert!((got - want).abs() < 1e-6 * want.abs(), "{path}: {got} against {want}");
            ranks.push(tensors.rank());
        }
        assert!(ranks.iter().any(|rank| *rank < fields.r), "{ranks:?}: all the same");
        let (left, emptied): (Vec<_>, Vec<_>) =
            adalora.modules.iter().partition(|(_, tensors)| tensors.rank() > 0);
        assert!(!emptied.is_empty(), "no module without rank");
        assert!(left.into_iter().map(|(path, _)| path).eq(lora.modules.keys()));
    }

    #[test]
    fn what_the_file_says_besides_is_kept_and_read_again() {
        let mut adalora = finished();
        adalora.config.base_model_name_or_path = Some("a/base".into());
        adalora.config.extra.insert("a_key_of_tomorrow".into(), json!(7));
        adalora.config.extra.insert("use_rslora".into(), json!(true)); // nothing to AdaLoRA
        let lora = adalora.to_lora().unwrap();
        assert_eq!(lora.config.task_type, adalora.config.task_type);
        assert_eq!(lora.config.base_model_name_or_path.as_deref(), Some("a/base"));
        assert_eq!(lora.config.extra["a_key_of_tomorrow"], 7);
        let dir = TempDir::new().unwrap();
        lora.write(&dir).unwrap();
        assert_eq!(AdapterFiles::read(&dir).unwrap(), lora);
    }

    #[test]
    fn what_is_no_finished_adalora_is_refused() {
        let with = |rank_pattern: Option<BTreeMap<String, Vec<bool>>>| {
            let mut files = finished();
            let PeftType::AdaLora(own) = &mut files.config.peft_type else { panic!() };
            own.rank_pattern = rank_pattern;
            files
        };
        let undecided = with(None).to_lora().unwrap_err();
        assert!(undecided.to_string().contains("`rank_pattern`"), "{undecided}");
        assert_eq!(undecided, Error::UndecidedRanks);
        let unfit = with(Some([].into())).to_lora().unwrap_err();
        assert!(matches!(unfit, Error::StoredTensor { .. }), "{unfit}");
        let twice = finished().to_lora().unwrap().to_lora().unwrap_err().to_string();
        assert_eq!(twice, "`peft_type` is LORA, expected ADALORA");

        let path = "model.layers.1.self_attn.v_proj".to_string();
        let mut emptied = finished();
        emptied.modules.retain(|module, _| *module == path);
        let PeftType::AdaLora(own) = &mut emptied.config.peft_type else { panic!() };
        own.rank_pattern = Some([(path, vec![false; own.init_r])].into());
        let error = emptied.to_lora().unwrap_err().to_string();
        assert_eq!(error, "`rank_pattern` is all false, expected a rank left in some module");
    }
}
