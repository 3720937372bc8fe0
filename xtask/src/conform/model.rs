//! Kind `model`: forward and backward of a checkpoint.

use burn::module::Module;
use burn::tensor::{Bool, Device, Gradients, Tensor, TensorData};
use peft_llama::{CausalLm, Checkpoint, cross_entropy_sum};

use super::tensors::Tensors;
use super::{Case, CaseError, Comparison, weights};

pub fn run(case: &Case, device: &Device) -> Result<Comparison, CaseError> {
    let mut comparison = Comparison::default();
    for role in ["config", "config_legacy"] {
        if case.file(role).is_some() {
            let dir = with_config(case, role)?;
            forward_and_backward(case, dir.path(), device, &mut comparison)
                .map_err(|e| format!("{role}: {e}"))?;
        }
    }
    Ok(comparison)
}

/// A checkpoint folder with the configuration in `role` as its `config.json`.
fn with_config(case: &Case, role: &str) -> Result<tempfile::TempDir, CaseError> {
    let dir = tempfile::tempdir()?;
    for (role, name) in [(role, "config.json"), ("weights", "model.safetensors")] {
        let source = case.file(role).ok_or_else(|| format!("no file `{role}`"))?;
        std::fs::copy(&source, dir.path().join(name))
            .map_err(|e| format!("{}: {e}", source.display()))?;
    }
    Ok(dir)
}

/// The base model of a trace.
pub fn load(case: &Case, device: &Device) -> Result<CausalLm, CaseError> {
    let dir = with_config(case, "config")?;
    Ok(Checkpoint::open(dir.path())?.load(device, None, |_| ())?.0.train())
}

fn forward_and_backward(
    case: &Case,
    dir: &std::path::Path,
    device: &Device,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    let checkpoint = Checkpoint::open(dir)?;
    let model = checkpoint.load(device, None, |_| ())?.0.train();
    let device = device.clone().autodiff();
    let io = case.tensors("io")?;
    let ids = || io.ids("input_ids", &device);

    let logits = model.forward(ids()?, None);
    compare(case, "logits", "logits", logits.clone(), &io, comparison)?;
    for (index, hidden) in model.hidden_states(ids()?, None).into_iter().enumerate() {
        compare(case, "hidden", &format!("hidden.{index}"), hidden, &io, comparison)?;
    }
    let rope = &checkpoint.config().rope.inv_freq(checkpoint.config().head_dim);
    let inv_freq = TensorData::new(rope.clone(), [rope.len()]);
    comparison.recorded(case, "inv_freq", "rope.inv_freq", &inv_freq, &io)?;

    if io.find("labels").is_some() {
        let loss = mean_loss(logits, &io, "labels", &device)?;
        compare(case, "loss", "loss", loss.clone(), &io, comparison)?;
        gradients(case, &model, loss.backward(), comparison)?;
    }
    if io.find("pad.attention_mask").is_some() {
        padded(case, &model, &io, &device, comparison)?;
    }
    comparison.all_seen(&io);
    Ok(())
}

fn mean_loss(
    logits: Tensor<3>,
    io: &Tensors,
    labels: &str,
    device: &Device,
) -> Result<Tensor<1>, CaseError> {
    let (sum, count) = cross_entropy_sum(logits, io.ids(labels, device)?);
    Ok(sum / count.float())
}

fn gradients(
    case: &Case,
    model: &CausalLm,
    grads: Gradients,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    let found = weights::gradients(model, &grads);
    for (name, want) in case.tensors_if_any("grads")?.with_prefix("") {
        let got = found.get(name).ok_or_else(|| format!("no gradient of `{name}`"))?;
        comparison.tensor(case, "grads", name, got, want)?;
    }
    Ok(())
}

/// Logits at real tokens of a padded batch, and its loss.
fn padded(
    case: &Case,
    model: &CausalLm,
    io: &Tensors,
    device: &Device,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    let mask: Tensor<2, Bool> = io.ids("pad.attention_mask", device)?.equal_elem(1);
    let logits = model.forward(io.ids("input_ids", device)?, Some(mask.clone()));
    if io.find("pad.labels").is_some() {
        let loss = mean_loss(logits.clone(), io, "pad.labels", device)?;
        compare(case, "loss", "pad.loss", loss, io, comparison)?;
    }
    if io.find("pad.logits").is_none() {
        return Ok(());
    }
    let hidden = mask.bool_not().unsqueeze_dim::<3>(2).expand(logits.dims());
    let want = io.float::<3>("pad.logits", device)?.mask_fill(hidden.clone(), 0.0).into_data();
    let got = logits.mask_fill(hidden, 0.0).into_data();
    comparison.tensor(case, "logits", "pad.logits", &got, &want)
}

fn compare<const D: usize>(
    case: &Case,
    quantity: &str,
    name: &str,
    got: Tensor<D>,
    io: &Tensors,
    comparison: &mut Comparison,
) -> Result<(), CaseError> {
    comparison.recorded(case, quantity, name, &got.into_data(), io)
}
