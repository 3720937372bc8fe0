//! The small models that everything is tried on.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use peft_core::{Method, Tuner};
use peft_llama::{CausalLm, Checkpoint, DecoderConfig, cross_entropy_sum};

use crate::conform::{CaseError, Tensors};

/// A base model, a batch for it, and the folder of what is made of it.
pub struct Base {
    pub dir: PathBuf,
    pub config: DecoderConfig,
    pub model: CausalLm,
    input_ids: Tensor<2, Int>, // [batch, seq]
    labels: Tensor<2, Int>,    // [batch, seq]
}

/// Logits of this library, and the folder with what they are compared with.
pub struct Run {
    pub dir: PathBuf,
    /// By name in `logits.safetensors`.
    pub logits: Vec<(&'static str, TensorData)>,
}

impl Run {
    /// Those of a model with an adapter, attached and merged.
    pub fn new<T: Method>(
        base: &Base,
        dir: PathBuf,
        tuner: &Tuner<T>,
        model: &CausalLm,
    ) -> Result<Self, CaseError> {
        let merged = tuner.merge(model.clone())?;
        let logits = vec![("logits", model), ("merged_logits", &merged)];
        let logits = logits.into_iter().map(|(name, model)| (name, base.logits(model))).collect();
        Ok(Self { dir, logits })
    }
}

impl Base {
    /// The model recorded in the folder `case`.
    pub fn load(case: &Path, dir: PathBuf, device: &Device) -> Result<Self, CaseError> {
        let checkpoint = Checkpoint::open(case)?;
        let model = checkpoint.load(device, None, |_| ())?.0.train();
        let (io, device) =
            (Tensors::read(&case.join("io.safetensors"))?, device.clone().autodiff());
        let (input_ids, labels) = (io.ids("input_ids", &device)?, io.ids("labels", &device)?);
        Ok(Self { dir, config: checkpoint.config().clone(), model, input_ids, labels })
    }

    /// A new folder.
    pub fn folder(&self, kind: &str, name: &str) -> Result<PathBuf, CaseError> {
        let dir = self.dir.join(kind).join(name);
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(dir)
    }

    /// What `model` says to the batch, `[batch, seq, vocab_size]`.
    pub fn logits(&self, model: &CausalLm) -> TensorData {
        model.forward(self.input_ids.clone(), None).into_data()
    }

    /// Trains on the batch.
    pub fn train<T: Method>(
        &self,
        tuner: &mut Tuner<T>,
        mut model: CausalLm,
        steps: usize,
    ) -> Result<CausalLm, CaseError> {
        let mut optim = AdamConfig::new().init();
        for _ in 0..steps {
            let logits = model.forward(self.input_ids.clone(), None);
            let (sum, count) = cross_entropy_sum(logits, self.labels.clone());
            let loss = sum / count.float();
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            (model, _) = tuner.step(model, &mut optim, grads)?;
        }
        Ok(model)
    }
}
