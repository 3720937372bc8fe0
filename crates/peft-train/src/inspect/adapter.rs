//! An adapter's folder.

use std::path::Path;

use indicatif::HumanCount;
use peft_core::Catalogue;
use peft_core::store::{AdaLoraFields, AdapterFile, PeftType};

use super::{InspectOptions, Inspection, TensorGroup, model};
use crate::Error;

pub(super) fn inspect(path: &Path, options: InspectOptions<'_>) -> Result<Inspection, Error> {
    let base = options.base();
    let catalogue = base.map(|base| model::catalogue(base, options.device)).transpose()?;
    let mut inspection = checked(path, catalogue.as_ref())?;
    if let Some(base) = base {
        inspection.facts.push(("fits", base.display().to_string()));
    }
    Ok(inspection)
}

/// The adapter in the folder `path`, which must fit the model of `catalogue`, if one is given.
pub(super) fn checked(path: &Path, catalogue: Option<&Catalogue>) -> Result<Inspection, Error> {
    let file = AdapterFile::read(path)?;
    let mut tensors = Vec::new();
    for (name, tensor) in file.tensors() {
        let bad = tensor.iter::<f32>().position(|value| !value.is_finite());
        if let Some(index) = bad {
            let problem = format!("is not finite at element {index}");
            let path = path.to_owned();
            return Err(peft_core::Error::StoredTensor { path, name, problem }.into());
        }
        TensorGroup::add(&mut tensors, &name, tensor.shape().as_slice(), tensor.dtype());
    }
    if let Some(catalogue) = catalogue {
        file.check(catalogue).map_err(|e| at(path, e))?;
    }
    let facts = vec![
        ("adapter", describe(&file)),
        ("parameters", HumanCount(file.num_elements() as u64).to_string()),
    ];
    Ok(Inspection { facts, tensors })
}

/// What does not fit is the adapter's folder as much as the base.
fn at(path: &Path, error: peft_core::Error) -> Error {
    Error::AdapterMisfit { path: path.into(), source: error }
}

fn describe(file: &AdapterFile) -> String {
    match file {
        AdapterFile::Losia(blocks) => {
            let weights: std::collections::BTreeSet<_> =
                blocks.0.iter().map(|block| &block.path).collect();
            format!("LoSiA, {} blocks of {} weights", blocks.0.len(), weights.len())
        }
        AdapterFile::Peft(files) => {
            let base = files.config.base_model_name_or_path.as_deref();
            let base = base.map_or(String::new(), |base| format!(", for {base}"));
            let modules = files.modules.len();
            let alpha = files.config.lora_alpha;
            match &files.config.peft_type {
                PeftType::Lora(lora) => {
                    let name = if lora.use_dora { "DoRA" } else { "LoRA" };
                    format!("{name} of rank {}, alpha {alpha}, {modules} modules{base}", lora.r)
                }
                PeftType::AdaLora(own) => {
                    let ranks = ranks(own);
                    format!("AdaLoRA, {ranks}, alpha {alpha}, {modules} modules{base}")
                }
            }
        }
    }
}

/// What a budget left, if it was distributed.
fn ranks(fields: &AdaLoraFields) -> String {
    match &fields.rank_pattern {
        Some(pattern) => {
            let all: Vec<&bool> = pattern.values().flatten().collect();
            let kept = all.iter().filter(|kept| ***kept).count();
            format!("{kept} of {} ranks", all.len())
        }
        None => format!("ranks undecided, {} for each module", fields.init_r),
    }
}
