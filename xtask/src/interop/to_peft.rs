//! Adapters and models trained here, for PEFT and transformers to load.

use burn::module::Module;
use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig};
use peft_core::adapter::lora::{Lora, LoraConfig, LoraInit};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::{Method, Params, Tuner, TunerConfig};
use peft_llama::CausalLm;

use super::base::{Base, Run};
use crate::conform::CaseError;

const STEPS: usize = 16;
const LEARNING_RATE: f64 = 1e-2;

/// All adapters and merged models for `base`, written to its folder.
pub fn runs(base: &Base) -> Result<Vec<Run>, CaseError> {
    let mut runs = adapters(base)?;
    runs.extend(merged(base)?);
    Ok(runs)
}

/// Adapters of every kind there is a file for.
fn adapters(base: &Base) -> Result<Vec<Run>, CaseError> {
    let lora = LoraConfig::new(STEPS).with_r(4).with_learning_rate(LEARNING_RATE);
    let rslora = lora
        .clone()
        .with_use_rslora(true)
        .with_rank_pattern([("q_proj".into(), 6), (r"layers\.1\.mlp\..*".into(), 2)].into())
        .with_alpha_pattern([("v_proj".into(), 12.0)].into());
    let mut written = Vec::new();
    for (name, config) in [
        ("dora", lora.clone().with_use_dora(true)),
        ("lora", lora.clone()),
        ("pissa", lora.clone().with_init_lora_weights(LoraInit::Pissa)),
        ("rslora_patterns", rslora),
    ] {
        let trained = Trained::new(base, Lora::new(config)?, &[])?;
        written.push(trained.written(base, name)?);
    }
    let head = base.model.lm_head.is_some().then_some("lm_head");
    let saved: Vec<_> = ["model.norm"].into_iter().chain(head).collect();
    let lora = lora.with_output_head(Some(base.model.output_head_name().into()));
    let modules = [("modules_to_save", &saved[..]), ("embeddings", &["embed_tokens"])];
    for (name, saved) in modules {
        let trained = Trained::new(base, Lora::new(lora.clone())?, saved)?;
        written.push(trained.written(base, name)?);
    }
    written.extend(adalora(base)?);
    Ok(written)
}

/// A finished AdaLoRA, as PEFT's ADALORA and as plain LORA.
fn adalora(base: &Base) -> Result<[Run; 2], CaseError> {
    let config = AdaLoraConfig::new(STEPS)
        .with_init_r(4)
        .with_target_r(1)
        .with_tinit(2)
        .with_tfinal(4)
        .with_learning_rate(LEARNING_RATE);
    let trained = Trained::new(base, AdaLora::new(config)?, &[])?;
    let Trained { tuner, model } = &trained;
    let dir = base.folder("to_peft", "adalora_as_lora")?;
    tuner.method().to_lora(tuner.steps(), &Params::of(model))?.write(&dir)?;
    let lora = Run::new(base, dir, tuner, model)?;
    Ok([trained.written(base, "adalora")?, lora])
}

/// Merged models, as checkpoints.
fn merged(base: &Base) -> Result<[Run; 2], CaseError> {
    let lora = LoraConfig::new(STEPS).with_learning_rate(LEARNING_RATE);
    let losia = LosiaConfig::new(STEPS)
        .with_rank_factor(0.25)
        .with_period(4)
        .with_learning_rate(LEARNING_RATE);
    Ok([
        Trained::new(base, Lora::new(lora)?, &[])?.saved(base, "lora")?,
        Trained::new(base, Losia::new(losia)?, &[])?.saved(base, "losia_pro")?,
    ])
}

struct Trained<T> {
    tuner: Tuner<T>,
    model: CausalLm,
}

impl<T: Method> Trained<T> {
    fn new(base: &Base, method: T, modules_to_save: &[&str]) -> Result<Self, CaseError> {
        let modules_to_save = modules_to_save.iter().map(|name| name.to_string()).collect();
        let config = TunerConfig { modules_to_save, ..TunerConfig::default() };
        let (mut tuner, model) = Tuner::attach(method, config, base.model.clone())?;
        let model = base.train(&mut tuner, model, STEPS)?;
        Ok(Self { tuner, model })
    }

    /// As an adapter file.
    fn written(&self, base: &Base, name: &str) -> Result<Run, CaseError> {
        let dir = base.folder("to_peft", name)?;
        let file = self.tuner.export(&self.model)?;
        file.ok_or_else(|| format!("{name}: no adapter file"))?.write(&dir)?;
        Run::new(base, dir, &self.tuner, &self.model)
    }

    /// As a checkpoint of the merged model.
    fn saved(&self, base: &Base, name: &str) -> Result<Run, CaseError> {
        let dir = base.folder("merged", name)?;
        let merged = self.tuner.merge(self.model.clone())?;
        peft_llama::save(&merged.valid(), &base.config, &dir, None)?;
        Ok(Run { dir, logits: vec![("logits", base.logits(&merged))] })
    }
}
