//! The base model, as far as it is known without its weights.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use peft_core::{Catalogue, device_by_name};
use peft_llama::{ChatTemplate, Checkpoint, DecoderConfig, LoadDType, Tokenizer};

use super::problem;
use crate::config::{Problem, TrainingConfig, TypedConfig};
use crate::data::{Hub, is_hub_name};
use crate::run::BaseIdentity;

/// Longest sample where neither the configuration nor the model says less.
const SEQUENCE_LEN: usize = 2048;

/// A base model whose headers were read and are in order.
pub(super) struct Base {
    pub checkpoint: Checkpoint,
    pub identity: BaseIdentity,
    pub tokenizer: Tokenizer,
    /// The devices of the run; the model is loaded on the first.
    pub devices: Vec<Device>,
    pub dtype: LoadDType,
    pub catalogue: Catalogue,
}

/// Opens the base that `typed` names, and fills `sequence_len` into `config`.
pub(super) fn open(typed: &TypedConfig, config: &mut TrainingConfig) -> Result<Base, Vec<Problem>> {
    let devices = devices(typed);
    if let Some(cached) = cached(&config.base_model) {
        config.base_model = cached;
    }
    let checkpoint = Checkpoint::open(&config.base_model);
    let checkpoint = checkpoint.map_err(|e| vec![problem(typed, "base_model", e)]);
    let (devices, checkpoint) = match (devices, checkpoint) {
        (Ok(devices), Ok(checkpoint)) => (devices, checkpoint),
        (devices, checkpoint) => {
            return Err([devices.err(), checkpoint.err()]
                .into_iter()
                .flatten()
                .flatten()
                .collect());
        }
    };
    let device = &devices[0];
    let of_base = |error| vec![problem(typed, "base_model", error)];
    checkpoint.check(device).map_err(of_base)?;
    let identity = BaseIdentity::of(checkpoint.dir());
    let identity = identity.map_err(|e| vec![problem(typed, "base_model", e)])?;
    let tokenizer = tokenizer(typed, &checkpoint)?;
    let dtype = checkpoint.dtype_on(device, config.dtype.map(Into::into)).map_err(of_base)?;
    config.sequence_len = Some(sequence_len(typed, &checkpoint)?);
    let catalogue = checkpoint.config().catalogue(&device.clone().autodiff());
    Ok(Base { checkpoint, identity, tokenizer, devices, dtype, catalogue })
}

/// The folder in the Hugging Face cache of a model that is named as on the hub.
fn cached(base_model: &Path) -> Option<PathBuf> {
    let name = base_model.to_str().filter(|name| !base_model.exists() && is_hub_name(name))?;
    Hub::from_env().model(name)
}

/// The devices by name, at least one.
fn devices(typed: &TypedConfig) -> Result<Vec<Device>, Vec<Problem>> {
    let names = typed.config.device.names();
    if names.is_empty() {
        let message = "`device` is [], expected at least one device".into();
        return Err(vec![typed.problem("device", message, None)]);
    }
    let found = names.iter().map(|name| device_by_name(name));
    found.collect::<Result<_, _>>().map_err(|e| vec![problem(typed, "device", e)])
}

fn tokenizer(typed: &TypedConfig, checkpoint: &Checkpoint) -> Result<Tokenizer, Vec<Problem>> {
    let tokenizer = Tokenizer::from_dir(checkpoint.dir(), checkpoint.config());
    let tokenizer = tokenizer.map_err(|e| vec![problem(typed, "base_model", e)])?;
    let template = match &typed.config.chat_template {
        Some(path) => ChatTemplate::from_file(path).map(Some),
        None => match ChatTemplate::from_dir(checkpoint.dir(), None) {
            Err(peft_llama::Error::NoChatTemplate { .. }) => Ok(None), // data may need none
            found => found.map(Some),
        },
    };
    let template = template.map_err(|e| vec![problem(typed, "chat_template", e)])?;
    Ok(template.into_iter().fold(tokenizer, Tokenizer::with_chat_template))
}

fn sequence_len(
    typed: &TypedConfig,
    checkpoint: &Checkpoint,
) -> Result<std::num::NonZeroUsize, Vec<Problem>> {
    let most = checkpoint.config().max_position_embeddings;
    let default = || std::num::NonZeroUsize::new(most.min(SEQUENCE_LEN));
    let asked = typed.config.sequence_len.or_else(default).unwrap_or(std::num::NonZeroUsize::MIN);
    match asked.get() <= most {
        true => Ok(asked),
        false => {
            let message = format!("`sequence_len` is {asked}, expected at most {most}");
            let hint = "the base model was trained for no longer sequences \
                        (`max_position_embeddings` in its config.json)";
            Err(vec![typed.problem("sequence_len", message, Some(hint.into()))])
        }
    }
}

/// The weight that logits are computed with.
pub(crate) fn output_head(config: &DecoderConfig) -> &'static str {
    match config.tie_word_embeddings {
        true => "model.embed_tokens.weight",
        false => "lm_head.weight",
    }
}

impl Base {
    /// The device that the model is loaded on.
    pub fn device(&self) -> &Device {
        &self.devices[0]
    }

    /// The weight that logits are computed with.
    pub fn output_head(&self) -> &'static str {
        output_head(self.checkpoint.config())
    }

    pub fn notes(&self) -> Vec<String> {
        let LoadDType { dtype, requested } = self.dtype;
        let other = || format!("the device does not compute in {requested:?}: {dtype:?} is used");
        let is_emulated = dtype != DType::F32 && peft_core::is_cpu(self.device());
        let emulated =
            || format!("a CPU emulates {dtype:?}: it takes less memory than F32, and more time");
        let notes = [(dtype != requested).then(other), is_emulated.then(emulated)];
        notes.into_iter().flatten().collect()
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("dir", &self.checkpoint.dir()).finish_non_exhaustive()
    }
}
