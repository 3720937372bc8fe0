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
    adapter.config.lora_dropout = 0.0; // recorded in evaluation mode
    let (tuner, model) = Tuner::attach(method(&adapter)?, TunerConfig::default(), base)?;
    let (io, device) = (case.tensors("io")?, device.clone().autodiff());

    let (logits, loss) = forward(&model, &io, &device)?;
    let data = loss.clone().into_data();
    comparison.tensor(case, "logits", "logits", &logits.into_data(), io.get("logits")?)?;
    comparison.tensor(case, "loss", "loss", &data, io.get("loss")?)?;
    if case.file("grads").is_some() {
        let grads = weights::gradients(&model, &loss.backward());
        gradients(case, &grads, &mut comparison)?;
    }

    let merged = tuner.merge(model)?;
    let (logits, _) = forward(&merged, &io, &device)?;
    let want = io.get("merged_logits")?;
    comparison.tensor(case, "merged_logits", "merged_logits", &logits.into_data(), want)?;
    let weights = weights::effective(&merged);
    for (name, want) in io.with_prefix("merged.") {
        let got = weights.get(name).ok_or_else(|| format!("no weight `{name}`"))?;
        comparison.tensor(case, "merged_weights", name, got, want)?;
    }
    Ok(comparison)
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
