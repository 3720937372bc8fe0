//! LoRA adapters in PEFT's format.

use burn::tensor::{Tensor, TensorData};
use indexmap::IndexMap;

use super::target::LoraTarget;
use super::{Lora, LoraConfig, LoraInit};
use crate::adapter::low_rank::{Given, transposed};
use crate::store::{AdapterConfig, AdapterFiles, LoraFields, ModuleTensors, PeftType};
use crate::{Error, ParamInfo, Params, TargetModules, to_host};

impl Lora {
    /// Goes on from an adapter in PEFT's format. What it computes and where it belongs are the
    /// file's; how it is trained, if it is, is `config`'s.
    ///
    /// # Errors
    /// [`Error::Setting`] for an adapter of another method, and what [`new`](Self::new) refuses.
    pub fn from_adapter(adapter: &AdapterFiles, config: LoraConfig) -> Result<Self, Error> {
        let PeftType::Lora(fields) = &adapter.config.peft_type else {
            return Err(Error::Setting {
                key: "peft_type",
                found: "ADALORA".into(),
                expected: "LORA",
            });
        };
        let given = Given::new(adapter)?;
        let config = LoraConfig {
            target_modules: given.target_modules(),
            exclude_modules: None,
            layers_to_transform: None,
            r: fields.r,
            lora_alpha: adapter.config.lora_alpha,
            use_rslora: fields.use_rslora,
            use_dora: fields.use_dora,
            rank_pattern: fields.rank_pattern.clone(),
            alpha_pattern: fields.alpha_pattern.clone(),
            lora_dropout: adapter.config.lora_dropout,
            init_lora_weights: LoraInit::Kaiming,
            ..config
        };
        Ok(Self { given, ..Self::new(config)? })
    }

    /// Values of A, B and the magnitude that a file gives, if it does, in Burn's orientation.
    pub(super) fn given(&self, param: &ParamInfo) -> Option<Vec<TensorData>> {
        let tensors = self.given.modules.get(param.module_path())?;
        let ModuleTensors::Lora { a, b, magnitude } = tensors else { return None };
        let factors = [a, b].map(|factor| transposed(factor, &param.device));
        let row = |m: &TensorData| {
            let values: Vec<f32> = m.iter().collect();
            let length = values.len();
            TensorData::new(values, [1, length])
        };
        Some(factors.into_iter().chain(magnitude.as_ref().map(row)).collect())
    }

    pub(super) fn to_adapter(&self, params: &Params) -> Result<AdapterFiles, Error> {
        let config = &self.config;
        let pissa = config.init_lora_weights != LoraInit::Kaiming;
        // A PiSSA adapter is the difference of two products, for the original weights.
        let (factor, alpha) = if pissa { (2, 2.0) } else { (1, 1.0) };
        let double = |(pattern, r): (&String, &usize)| (pattern.clone(), factor * r);
        let fields = LoraFields {
            r: factor * config.r,
            use_rslora: config.use_rslora,
            use_dora: config.use_dora,
            rank_pattern: config.rank_pattern.iter().map(double).collect(),
            alpha_pattern: scaled(&config.alpha_pattern, self.alpha_factor(alpha)),
        };
        let alpha = config.lora_alpha * self.alpha_factor(alpha);
        let names = self.targets.iter().map(|t| t.low_rank.module_path().to_string()).collect();
        let modules = self
            .targets
            .iter()
            .map(|target| Ok((target.low_rank.module_path().to_string(), target.tensors(params)?)));
        let names = TargetModules::Names(names);
        Ok(AdapterFiles {
            config: self.given.config(AdapterConfig {
                lora_dropout: config.lora_dropout,
                ..AdapterConfig::new(PeftType::Lora(fields), alpha, names)
            }),
            modules: modules.collect::<Result<_, Error>>()?,
            other: self.given.whole(),
        })
    }

    /// What keeps the scaling when ranks are multiplied by `factor`.
    fn alpha_factor(&self, factor: f64) -> f64 {
        match self.config.use_rslora {
            true => factor.sqrt(),
            false => factor,
        }
    }
}

fn scaled(pattern: &IndexMap<String, f64>, factor: f64) -> IndexMap<String, f64> {
    pattern.iter().map(|(pattern, alpha)| (pattern.clone(), alpha * factor)).collect()
}

impl LoraTarget {
    fn tensors(&self, params: &Params) -> Result<ModuleTensors, Error> {
        let mut values = self.low_rank.values(params)?.into_iter();
        let mut next = || values.next().ok_or_else(|| self.low_rank.gone());
        let (mut a, mut b) = (next()?, next()?);
        if let Some(taken) = &self.taken {
            let [a0, b0] = taken.clone().map(|data| Tensor::<2>::from_data(data, &a.device()));
            a = Tensor::cat(vec![a, a0], 1);
            b = Tensor::cat(vec![b, b0.neg()], 0);
        }
        let magnitude = values.next().map(|m| to_host(m.squeeze_dim::<1>(0)));
        let [a, b] = [a, b].map(|factor| to_host(factor.transpose()));
        Ok(ModuleTensors::Lora { a, b, magnitude })
    }
}
