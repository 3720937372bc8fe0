//! Names of an adapter's tensors in a file.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use super::modules::{ADALORA_A, ADALORA_B, ADALORA_E, LORA_A, LORA_B, MAGNITUDE, ModuleTensors};
use super::{AdapterConfig, PeftType};
use crate::Error;
use crate::target::{EMBEDDING, OUTPUT_HEAD};

/// What PEFT puts before every module path.
const PREFIX: &str = "base_model.model.";
/// Where PEFT keeps the own parameters of an adapted module.
const BASE_LAYER: &str = ".base_layer.";
/// Modules PEFT stores whole without being asked, when a vocabulary was extended.
const EMBEDDINGS: [&str; 2] = [EMBEDDING, OUTPUT_HEAD];

pub(super) type Modules = BTreeMap<String, ModuleTensors>;
pub(super) type Tensors = BTreeMap<String, TensorData>;

/// Tensors of one module, by the end of their name.
type Parts = BTreeMap<&'static str, TensorData>;

/// Sorts the tensors of the file at `path` into adapters by module and parameters stored whole.
pub(super) fn sort(
    config: &AdapterConfig,
    tensors: Tensors,
    path: &Path,
) -> Result<(Modules, Tensors), Error> {
    let mut parts = BTreeMap::<String, Parts>::new();
    let mut other = Tensors::new();
    for (name, tensor) in tensors {
        let known = name.strip_prefix(PREFIX).ok_or_else(|| unknown(path, &name))?;
        if let Some((module, end)) = split(config, known) {
            parts.entry(module.into()).or_default().insert(end, tensor);
            continue;
        }
        let param = known.replacen(BASE_LAYER, ".", 1);
        if !is_stored_whole(config, &param) {
            return Err(unknown(path, &name));
        }
        if other.insert(param, tensor).is_some() {
            return Err(refuse(path, &name, "is the second one of that parameter"));
        }
    }
    let assembled = parts.into_iter().map(|(module, parts)| {
        let tensors = assemble(config, &module, parts, path)?;
        Ok((module, tensors))
    });
    Ok((assembled.collect::<Result<_, _>>()?, other))
}

/// Whether `param` is in one of `modules_to_save`. As PEFT has it, a name is the end of a module
/// path at any letter: `norm` stands for `input_layernorm` too.
fn is_stored_whole(config: &AdapterConfig, param: &str) -> bool {
    let param = format!("{param}.");
    let saved = config.modules_to_save.iter().flatten().map(String::as_str);
    saved.chain(EMBEDDINGS).any(|module| param.contains(&format!("{module}.")))
}

/// The module path and the end of an adapter tensor's name.
fn split<'a>(config: &AdapterConfig, name: &'a str) -> Option<(&'a str, &'static str)> {
    let ends = match config.peft_type {
        PeftType::Lora(_) => [LORA_A, LORA_B, MAGNITUDE],
        PeftType::AdaLora(_) => [ADALORA_A, ADALORA_B, ADALORA_E],
    };
    ends.into_iter().find_map(|end| Some((name.strip_suffix(end)?.strip_suffix('.')?, end)))
}

fn assemble(
    config: &AdapterConfig,
    module: &str,
    mut parts: Parts,
    path: &Path,
) -> Result<ModuleTensors, Error> {
    let magnitude = parts.remove(MAGNITUDE);
    let mut take = |end: &'static str| {
        parts.remove(end).ok_or_else(|| refuse(path, &full_name(module, end), "is missing"))
    };
    Ok(match config.peft_type {
        PeftType::Lora(_) => ModuleTensors::Lora { a: take(LORA_A)?, b: take(LORA_B)?, magnitude },
        PeftType::AdaLora(_) => {
            ModuleTensors::AdaLora { a: take(ADALORA_A)?, b: take(ADALORA_B)?, e: take(ADALORA_E)? }
        }
    })
}

/// All tensors under their names in the file at `path`, the reverse of [`sort`].
pub(super) fn flatten<'a>(
    config: &AdapterConfig,
    modules: &'a Modules,
    other: &'a Tensors,
    path: &Path,
) -> Result<BTreeMap<String, &'a TensorData>, Error> {
    let adapters = modules.iter().flat_map(|(module, tensors)| {
        let named = tensors.named().into_iter();
        named.map(move |(end, tensor)| Ok((full_name(module, end), tensor)))
    });
    let whole = other.iter().map(|(param, tensor)| match whole_name(modules, param) {
        name if is_stored_whole(config, param) => Ok((name, tensor)),
        name => Err(unknown(path, &name)),
    });
    adapters.chain(whole).collect()
}

pub(super) fn full_name(module: &str, end: &str) -> String {
    format!("{PREFIX}{module}.{end}")
}

pub(super) fn whole_name(modules: &Modules, param: &str) -> String {
    match param.rsplit_once('.') {
        Some((module, name)) if modules.contains_key(module) => {
            format!("{PREFIX}{module}{BASE_LAYER}{name}")
        }
        _ => format!("{PREFIX}{param}"),
    }
}

fn unknown(path: &Path, name: &str) -> Error {
    let problem = "belongs neither to an adapter of a linear layer nor to `modules_to_save`";
    refuse(path, name, problem)
}

pub(super) fn refuse(path: &Path, name: &str, problem: impl Into<String>) -> Error {
    Error::StoredTensor { path: path.into(), name: name.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{adapter, tensor};

    const A: &str = "base_model.model.layers.0.q_proj.lora_A.weight";
    const B: &str = "base_model.model.layers.0.q_proj.lora_B.weight";

    fn sorted(config: &AdapterConfig, names: &[&str]) -> Result<(Modules, Tensors), Error> {
        let tensors = names.iter().map(|name| (name.to_string(), tensor(&[1])));
        sort(config, tensors.collect(), Path::new("file"))
    }

    fn saving(modules: &[&str]) -> AdapterConfig {
        let names = modules.iter().map(|name| name.to_string()).collect();
        AdapterConfig { modules_to_save: Some(names), ..adapter().config }
    }

    #[test]
    fn a_lone_matrix_is_refused_by_the_name_of_the_other() {
        for (there, missing) in [(A, B), (B, A)] {
            let error = sorted(&adapter().config, &[there]).unwrap_err();
            assert_eq!(error.to_string(), format!("file: tensor `{missing}` is missing"));
        }
    }

    #[test]
    fn unknown_tensors_are_refused_by_name() {
        let config = saving(&["norm"]);
        for name in [
            "layers.0.q_proj.lora_A.weight",
            "base_model.model.layers.0.q_proj.lora_A",
            "base_model.model.layers.0.q_proj.lora_B.bias",
            "base_model.model.layers.0.q_proj.lora_A.default.weight",
            "base_model.model.embed.lora_embedding_A",
            "base_model.model.lora_A.weight",
            "base_model.model.layers.0.normed.weight",
            "base_model.model.layers.0.mlp.weight",
            "",
        ] {
            let error = sorted(&config, &[A, B, name]).unwrap_err();
            let start = format!("file: tensor `{name}` belongs neither to ");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }

    #[test]
    fn parameters_stored_whole_keep_their_path() {
        let config = saving(&["norm", "layers.1"]);
        let paths = [
            "layers.0.input_layernorm.weight",
            "layers.0.norm.bias",
            "layers.1.q_proj.weight",
            "lm_head.weight",
            "model.embed_tokens.weight",
        ];
        let names = paths.map(|path| format!("base_model.model.{path}"));
        let names: Vec<_> = names.iter().map(String::as_str).chain([A, B]).collect();
        let (modules, other) = sorted(&config, &names).unwrap();
        assert_eq!(other.keys().collect::<Vec<_>>(), paths);
        let written = flatten(&config, &modules, &other, Path::new("file")).unwrap();
        assert_eq!(written.len(), names.len());
        assert!(names.iter().all(|name| written.contains_key(*name)));
    }

    #[test]
    fn the_own_weight_of_an_adapted_module_is_its_base_layer() {
        let config = adapter().config;
        let names = ["lora_A.weight", "lora_B.weight", "base_layer.weight"]
            .map(|end| format!("base_model.model.lm_head.{end}"));
        let (modules, other) = sorted(&config, &names.each_ref().map(String::as_str)).unwrap();
        assert_eq!(other.keys().collect::<Vec<_>>(), ["lm_head.weight"]);
        let written = flatten(&config, &modules, &other, Path::new("file")).unwrap();
        assert!(written.contains_key(&names[2]), "{:?}", written.keys());

        let twice = [&names[2], "base_model.model.lm_head.weight"];
        let error = sorted(&config, &twice).unwrap_err().to_string();
        assert!(
            error
                .ends_with("`base_model.model.lm_head.weight` is the second one of that parameter"),
            "{error}"
        );
    }

    #[test]
    fn a_parameter_that_no_one_saves_is_not_written() {
        let other = [("layers.0.norm.weight".to_string(), tensor(&[1]))].into();
        let modules = Modules::new();
        let error = flatten(&adapter().config, &modules, &other, Path::new("file"));
        let start = "file: tensor `base_model.model.layers.0.norm.weight` belongs neither to ";
        assert!(error.as_ref().unwrap_err().to_string().starts_with(start), "{error:?}");
    }
}
