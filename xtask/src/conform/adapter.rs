//! Kind `adapter`: an adapter in PEFT's format on a base model, forward, backward and merged.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig};
use peft_core::adapter::lora::{Lora, LoraConfig};
use peft_core::store::{AdapterFiles, PeftType};
use peft_core::{Method, Tuner, TunerConfig};
use peft_llama::{CausalLm, cross_entropy_sum};

use super::peft_names::{self, TensorName};
use super::tensors::Tensors;
use super::{Case, CaseError, Comparison, model, weights};

pub fn run(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    let base = model::load(&case.base()?, device)?;
    let mut adapter = read(case)?;
    without_dropout(&mut adapter, &mut comparison);
    let (tuner, model) = Tuner::attach(method(&adapter)?, TunerConfig::default(), base)?;
    let (io, device) = (case.tensors("io")?, device.clone().autodiff());

    let (logits, loss) = forward(&model, &io, &device)?;
    let data = loss.clone().into_data();
    comparison.recorded(case, "logits", "logits", &logits.into_data(), &io)?;
    comparison.recorded(case, "loss", "loss", &data, &io)?;
    if case.file("grads").is_some() {
        let grads = weights::gradients(&model, &loss.backward());
        gradients(case, &grads, &mut comparison)?;
    }

    let merged = tuner.merge(model)?;
    let (logits, _) = forward(&merged, &io, &device)?;
    comparison.recorded(case, "merged_logits", "merged_logits", &logits.into_data(), &io)?;
    let weights = weights::effective(&merged);
    for (name, want) in io.with_prefix("merged.") {
        let got = weights.get(name).ok_or_else(|| format!("no weight `{name}`"))?;
        comparison.tensor(case, "merged_weights", name, got, want)?;
    }
    for before_pruning in ["logits_before_save", "loss_with_orth_before_save"] {
        io.find(before_pruning); // of a model that is not in the case
    }
    comparison.all_seen(&io);
    Ok(comparison)
}

/// Switches dropout off, with which a gradient would be computed here: what is compared was recorded
/// in evaluation mode, gradients included.
fn without_dropout(adapter: &mut AdapterFiles, comparison: &mut Comparison) {
    let dropout = std::mem::replace(&mut adapter.config.lora_dropout, 0.0);
    if dropout > 0.0 {
        comparison.note(format!("without lora_dropout {dropout}, as recorded (evaluation mode)"));
    }
}

/// The adapter under the names PEFT gives its files.
fn read(case: &Case) -> Result<AdapterFiles, CaseError> {
    let dir = tempfile::tempdir()?;
    for (role, name) in [
        ("adapter_config", "adapter_config.json"),
        ("adapter_weights", "adapter_model.safetensors"),
    ] {
        let source = case.file(role).ok_or_else(|| format!("no file `{role}`"))?;
        std::fs::copy(&source, dir.path().join(name))
            .map_err(|e| format!("{}: {e}", source.display()))?;
    }
    Ok(AdapterFiles::read(dir.path())?)
}

/// The method that goes on from an adapter.
pub fn method(adapter: &AdapterFiles) -> Result<Box<dyn Method>, CaseError> {
    Ok(match adapter.config.peft_type {
        PeftType::Lora(_) => Box::new(Lora::from_adapter(adapter, LoraConfig::new(1))?),
        PeftType::AdaLora(_) => Box::new(AdaLora::from_adapter(adapter, AdaLoraConfig::new(2))?),
    })
}

fn forward(
    model: &CausalLm,
    io: &Tensors,
    device: &Device,
) -> Result<(Tensor<3>, Tensor<1>), CaseError> {
    let logits = model.forward(io.ids("input_ids", device)?, None);
    let (sum, count) = cross_entropy_sum(logits.clone(), io.ids("labels", device)?);
    Ok((logits, sum / count.float()))
}

fn gradients(
    case: &Case,
    grads: &BTreeMap<String, TensorData>,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    for (name, want) in case.tensors("grads")?.with_prefix("") {
        let tensor = TensorName::parse(name)?;
        let got = tensor.find(grads).ok_or_else(|| format!("no gradient of `{name}`"))?;
        let got = peft_names::oriented(got, want);
        comparison.tensor(case, "grads", name, &got, want)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use crate::conform::{Outcome, run};

    #[test]
    fn dropout_is_off_and_the_report_says_so() {
        let cases = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases"));
        let (from, to) = (cases.join("lora_tiny"), tempfile::tempdir().unwrap());
        for entry in from.read_dir().unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
        let edit = |file: &str, key: &str, value: Value| {
            let path = to.path().join(file);
            let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            json[key] = value;
            std::fs::write(path, json.to_string()).unwrap();
        };
        edit("case.json", "base", json!(cases.join("llama_tiny")));
        edit("adapter_config.json", "lora_dropout", json!(0.5));
        let (_, outcome) = run(to.path(), &peft_testing::device()).unwrap();
        let Outcome::Pass(comparison) = outcome else { panic!("{outcome:?}") };
        assert!(comparison.to_string().contains("without lora_dropout 0.5"), "{comparison}");
    }
}
