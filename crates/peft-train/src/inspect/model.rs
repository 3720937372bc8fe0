//! A model's folder.

use std::path::Path;

use burn::tensor::Device;
use indicatif::{DecimalBytes, HumanCount};
use peft_core::{Catalogue, Outline, ParamCounts, TargetModules, Targeting};
use peft_llama::{ChatTemplate, Checkpoint, DecoderConfig, Tokenizer};

use super::{InspectOptions, Inspection, TensorGroup};
use crate::Error;
use crate::config::{Problems, TypedConfig};
use crate::plan::{MethodSettings, output_head};

pub(super) fn inspect(
    path: &Path,
    options: InspectOptions<'_>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Inspection, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let ignored = checkpoint.check(options.device)?;
    checkpoint.verify(|at| watch(at.bytes_done, at.bytes_total))?;
    let tokenizer = Tokenizer::from_dir(path, checkpoint.config())?;
    let mut tensors = Vec::new();
    let (mut elements, mut bytes) = (0, 0);
    for tensor in checkpoint.tensors() {
        elements += tensor.num_elements();
        bytes += tensor.num_elements() * tensor.dtype.size();
        TensorGroup::add(&mut tensors, tensor.name, tensor.shape, tensor.dtype);
    }
    let mut facts = vec![
        ("model", family(checkpoint.config())),
        (
            "parameters",
            format!("{} in {}", HumanCount(elements as u64), DecimalBytes(bytes as u64)),
        ),
        ("tokenizer", tokens(&tokenizer, checkpoint.config())),
        ("chat", chat_template(path)?.into()),
    ];
    if !ignored.is_empty() {
        facts.push(("ignored", ignored.join(", ")));
    }
    let catalogue = checkpoint.config().catalogue(&options.device.clone().autodiff());
    facts.extend(targets(&catalogue, checkpoint.config(), options.config)?);
    Ok(Inspection { facts, tensors })
}

/// The parameters of the model in the folder `base`, whose headers are checked.
pub(super) fn catalogue(base: &Path, device: &Device) -> Result<Catalogue, Error> {
    let checkpoint = Checkpoint::open(base)?;
    checkpoint.check(device)?;
    Ok(checkpoint.config().catalogue(&device.clone().autodiff()))
}

fn family(config: &DecoderConfig) -> String {
    format!(
        "{:?}, {} layers of {}, {} heads ({} for keys), {} tokens, sequences of {}",
        config.model_type,
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        HumanCount(config.vocab_size as u64),
        config.max_position_embeddings,
    )
}

fn tokens(tokenizer: &Tokenizer, config: &DecoderConfig) -> String {
    let known = tokenizer.vocab_size();
    let more = match known > config.vocab_size {
        true => ", more than the model has embeddings for",
        false => "",
    };
    format!(
        "{} tokens{more}; BOS {}, EOS {}",
        HumanCount(known as u64),
        id(tokenizer.bos_token_id()),
        id(tokenizer.eos_token_id()),
    )
}

fn id(token: Option<u32>) -> String {
    token.map_or("none".into(), |token| token.to_string())
}

fn chat_template(path: &Path) -> Result<&'static str, Error> {
    match ChatTemplate::from_dir(path, None) {
        Ok(_) => Ok("has a template"),
        Err(peft_llama::Error::NoChatTemplate { .. }) => Ok("no template"),
        Err(error) => Err(error.into()),
    }
}

/// What the method of `config` would take, or what `all-linear` stands for.
fn targets(
    catalogue: &Catalogue,
    decoder: &DecoderConfig,
    config: Option<&TypedConfig>,
) -> Result<Vec<(&'static str, String)>, Error> {
    let head = output_head(decoder);
    let Some(typed) = config else {
        let all = TargetModules::all_linear();
        let weights = Targeting::of(&all).select(catalogue, Some(head))?;
        let text = format!("all-linear is {} weights", weights.len());
        return Ok(vec![("targets", text)]);
    };
    let mut config = typed.config.clone();
    let steps = config.max_steps.map_or(1 << 40, Into::into);
    let settings = MethodSettings::resolve(&mut config, steps, head);
    let tuner = crate::plan::tuner_config(&config);
    let outline =
        settings.build().and_then(|mut method| Outline::new(&mut *method, &tuner, catalogue));
    let outline = outline.map_err(|e| Problems(vec![typed.method_problem(&e)]))?;
    let targets = format!("{}: {}", config.method, crate::plan::adapted(&outline));
    Ok(vec![("targets", targets), trains(&outline)])
}

/// How many parameters a method trains.
pub(super) fn trains(outline: &Outline) -> (&'static str, String) {
    let ParamCounts { trainable, total } = outline.counts;
    let share = 100.0 * trainable as f64 / total as f64;
    let trainable = HumanCount(trainable as u64);
    ("trains", format!("{trainable} parameters at a time ({share:.2} %)"))
}
