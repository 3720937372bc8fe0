//! The method of a configuration, with its settings.

use peft_core::adapter::adalora::{AdaLora, AdaLoraConfig};
use peft_core::adapter::full::Full;
use peft_core::adapter::lora::{Lora, LoraConfig, LoraInit};
use peft_core::adapter::losia::{Losia, LosiaConfig};
use peft_core::schedule::{Decay, DenseSchedule};
use peft_core::{Error, Method, Optimizer};
use serde_json::{Value, json};

use crate::config::{LrShape, MethodName, TrainingConfig};

/// Power iterations of PiSSA's randomised decomposition (PEFT's `pissa_niter_16`).
const PISSA_ITERATIONS: usize = 16;

/// The settings of a run's method.
#[derive(Debug, Clone)]
pub enum MethodSettings {
    /// LoSiA and LoSiA-Pro.
    Losia(LosiaConfig),
    /// LoRA, DoRA and PiSSA.
    Lora(LoraConfig),
    /// AdaLoRA.
    AdaLora(AdaLoraConfig),
    /// Full fine-tuning.
    Full(Full),
}

impl MethodSettings {
    /// The settings `config` asks for, in a run of `total_steps` on a model whose output head is
    /// the weight `output_head`. Defaults are filled into `config`.
    pub fn resolve(config: &mut TrainingConfig, total_steps: usize, output_head: &str) -> Self {
        match config.method {
            MethodName::LosiaPro | MethodName::Losia => {
                Self::Losia(losia(config, total_steps, output_head))
            }
            MethodName::Lora | MethodName::Dora | MethodName::Pissa => {
                Self::Lora(lora(config, total_steps, output_head))
            }
            MethodName::Adalora => Self::AdaLora(adalora(config, total_steps, output_head)),
            MethodName::Full => Self::Full(full(config, total_steps)),
        }
    }

    /// Checks every setting that can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first one out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Losia(config) => config.validate(),
            Self::Lora(config) => config.validate(),
            Self::AdaLora(config) => config.validate(),
            Self::Full(_) => Ok(()),
        }
    }

    /// The method, not yet attached to a model.
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate).
    pub fn build(&self) -> Result<Box<dyn Method>, Error> {
        Ok(match self {
            Self::Losia(config) => Box::new(Losia::new(config.clone())?),
            Self::Lora(config) => Box::new(Lora::new(config.clone())?),
            Self::AdaLora(config) => Box::new(AdaLora::new(config.clone())?),
            Self::Full(full) => Box::new(full.clone()),
        })
    }

    /// The settings as JSON, by which a resume recognises the run.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Losia(config) => json!(config),
            Self::Lora(config) => {
                let mut settings = json!(config);
                // As lists: of patterns, the first that matches wins.
                settings["rank_pattern"] = json!(config.rank_pattern.iter().collect::<Vec<_>>());
                settings["alpha_pattern"] = json!(config.alpha_pattern.iter().collect::<Vec<_>>());
                settings
            }
            Self::AdaLora(config) => json!(config),
            Self::Full(full) => json!({
                "learning_rate": full.learning_rate,
                "lr_scheduler": full.schedule.decay,
                "warmup_steps": full.schedule.warmup_steps,
                "total_steps": full.schedule.total_steps,
                "min_lr_ratio": full.schedule.min_lr_ratio,
                "target_modules": full.target_modules,
            }),
        }
    }
}

fn losia(typed: &mut TrainingConfig, total_steps: usize, output_head: &str) -> LosiaConfig {
    let mut config = LosiaConfig {
        exclude_modules: typed.exclude_modules.clone(),
        layers_to_transform: typed.layers_to_transform.clone(),
        output_head: Some(output_head.into()),
        min_lr_ratio: typed.min_lr_ratio,
        warmup_ratio: typed.warmup_ratio,
        weight_decay: typed.weight_decay,
        pro: typed.method == MethodName::LosiaPro,
        seed: typed.seed,
        ..LosiaConfig::new(total_steps)
    };
    agree(&mut typed.target_modules, &mut config.target_modules);
    agree(&mut typed.rank_factor, &mut config.rank_factor);
    agree(&mut typed.period, &mut config.period);
    agree(&mut typed.output_dim_factor, &mut config.output_dim_factor);
    agree(&mut typed.update_type, &mut config.update_type);
    agree(&mut typed.sensitivity, &mut config.sensitivity);
    agree(&mut typed.learning_rate, &mut config.learning_rate);
    let shape = *typed.lr_scheduler.get_or_insert(LrShape::CosineRestarts);
    config.lr_scheduler = shape.of_subnets().unwrap_or(config.lr_scheduler);
    config
}

fn lora(typed: &mut TrainingConfig, total_steps: usize, output_head: &str) -> LoraConfig {
    let mut config = LoraConfig {
        exclude_modules: typed.exclude_modules.clone(),
        layers_to_transform: typed.layers_to_transform.clone(),
        output_head: Some(output_head.into()),
        use_dora: typed.method == MethodName::Dora,
        rank_pattern: typed.rank_pattern.clone(),
        alpha_pattern: typed.alpha_pattern.clone(),
        init_lora_weights: match typed.method {
            MethodName::Pissa => LoraInit::PissaNiter(PISSA_ITERATIONS),
            _ => LoraInit::Kaiming,
        },
        lr_scheduler: decay(typed),
        min_lr_ratio: typed.min_lr_ratio,
        warmup_ratio: typed.warmup_ratio,
        optimizer: adamw(typed.weight_decay),
        seed: typed.seed,
        ..LoraConfig::new(total_steps)
    };
    agree(&mut typed.target_modules, &mut config.target_modules);
    agree(&mut typed.lora_r, &mut config.r);
    agree(&mut typed.lora_alpha, &mut config.lora_alpha);
    agree(&mut typed.lora_dropout, &mut config.lora_dropout);
    agree(&mut typed.use_rslora, &mut config.use_rslora);
    agree(&mut typed.loraplus_lr_ratio, &mut config.loraplus_lr_ratio);
    agree(&mut typed.learning_rate, &mut config.learning_rate);
    config
}

fn adalora(typed: &mut TrainingConfig, total_steps: usize, output_head: &str) -> AdaLoraConfig {
    let mut config = AdaLoraConfig {
        exclude_modules: typed.exclude_modules.clone(),
        layers_to_transform: typed.layers_to_transform.clone(),
        output_head: Some(output_head.into()),
        lr_scheduler: decay(typed),
        min_lr_ratio: typed.min_lr_ratio,
        warmup_ratio: typed.warmup_ratio,
        optimizer: adamw(typed.weight_decay),
        seed: typed.seed,
        ..AdaLoraConfig::new(total_steps)
    };
    agree(&mut typed.target_modules, &mut config.target_modules);
    agree(&mut typed.init_r, &mut config.init_r);
    agree(&mut typed.target_r, &mut config.target_r);
    agree(&mut typed.tinit, &mut config.tinit);
    agree(&mut typed.tfinal, &mut config.tfinal);
    agree(&mut typed.delta_t, &mut config.delta_t);
    agree(&mut typed.orth_reg_weight, &mut config.orth_reg_weight);
    agree(&mut typed.orthogonality, &mut config.orthogonality);
    agree(&mut typed.importance, &mut config.importance);
    agree(&mut typed.beta1, &mut config.beta1);
    agree(&mut typed.beta2, &mut config.beta2);
    agree(&mut typed.lora_alpha, &mut config.lora_alpha);
    agree(&mut typed.lora_dropout, &mut config.lora_dropout);
    agree(&mut typed.learning_rate, &mut config.learning_rate);
    config
}

/// Full fine-tuning of every parameter, or of the `Linear` modules selected.
fn full(typed: &mut TrainingConfig, total_steps: usize) -> Full {
    const LEARNING_RATE: f64 = 2e-5;
    let learning_rate = *typed.learning_rate.get_or_insert(LEARNING_RATE);
    let schedule = DenseSchedule::new(total_steps, typed.warmup_ratio, typed.min_lr_ratio);
    let schedule = schedule.with_decay(decay(typed));
    Full { learning_rate, schedule, target_modules: typed.target_modules.clone() }
}

/// The shape of a rate that no subnet's move interrupts.
fn decay(typed: &mut TrainingConfig) -> Decay {
    typed.lr_scheduler.get_or_insert(LrShape::Cosine).decay().unwrap_or_default()
}

fn adamw(weight_decay: f64) -> Optimizer {
    match Optimizer::default() {
        Optimizer::AdamW { beta1, beta2, eps, .. } => {
            Optimizer::AdamW { beta1, beta2, eps, weight_decay }
        }
        other => other,
    }
}

/// Gives `setting` the value that was typed, or fills in as typed the default it has.
fn agree<T: Clone>(typed: &mut Option<T>, setting: &mut T) {
    match typed {
        Some(value) => setting.clone_from(value),
        None => *typed = Some(setting.clone()),
    }
}

/// The name that `key`, a setting of a method in the library, has in a configuration.
pub(crate) fn typed_key(key: &str) -> &str {
    match key {
        "r" => "lora_r",
        "delta_t" => "deltaT",
        "total_steps" => "max_steps",
        "optimizer.weight_decay" => "weight_decay",
        key => key,
    }
}

#[cfg(test)]
mod tests {
    use peft_core::TargetModules;
    use peft_core::adapter::adalora::{Orthogonality, RankImportance};

    use super::*;
    use crate::config::TypedConfig;

    fn config(method: &str, settings: &[&str]) -> TrainingConfig {
        let toml = format!(
            "base_model = \"m\"\nmethod = \"{method}\"\ndatasets = [{{path = \"d\"}}]\n\
             output_dir = \"o\"\n{}",
            settings.join("\n")
        );
        TypedConfig::parse(&toml, "run.toml", &[]).unwrap().config
    }

    #[test]
    fn every_method_is_built_with_what_was_typed_and_its_defaults() {
        for method in MethodName::ALL {
            let mut typed = config(method.as_str(), &["seed = 7", "weight_decay = 0.5"]);
            let settings = MethodSettings::resolve(&mut typed, 100, "lm_head.weight");
            settings.validate().unwrap();
            let built = settings.build().unwrap();
            assert_eq!((built.name(), built.total_steps()), (method.as_str(), Some(100)));
            let json = settings.to_json();
            assert_eq!(json["learning_rate"], typed.learning_rate.unwrap());
            if !matches!(method, MethodName::Full) {
                assert_eq!(json["seed"], 7);
                assert_eq!(typed.target_modules, Some(TargetModules::all_linear()));
            }
        }
    }

    #[test]
    fn typed_settings_reach_the_method() {
        let typed = ["init_r = 6", "target_r = 2", "tinit = 5", "deltaT = 4", "lora_alpha = 3"];
        let own = ["importance = \"magnitude\"", "orthogonality = \"squared_sum\"", "beta2 = 0.5"];
        let mut typed = config("adalora", &[&typed[..], &own].concat());
        let MethodSettings::AdaLora(adalora) = MethodSettings::resolve(&mut typed, 100, "h") else {
            panic!("another method")
        };
        assert_eq!((adalora.init_r, adalora.target_r, adalora.tinit), (6, 2, 5));
        assert_eq!((adalora.delta_t, adalora.lora_alpha, adalora.tfinal), (4, 3.0, 0));
        assert_eq!((typed.tfinal, typed.orth_reg_weight), (Some(0), Some(0.5)));
        assert_eq!(adalora.importance, RankImportance::Magnitude);
        assert_eq!(adalora.orthogonality, Orthogonality::SquaredSum);
        assert_eq!((adalora.beta1, adalora.beta2, typed.beta1), (0.85, 0.5, Some(0.85)));

        let typed = ["rank_pattern = { q_proj = 4, \".*proj\" = 2 }", "alpha_pattern.k_proj = 3"];
        let mut typed = config("lora", &typed);
        let settings = MethodSettings::resolve(&mut typed, 100, "h");
        let json = settings.to_json();
        assert_eq!(json["rank_pattern"], json!([["q_proj", 4], [".*proj", 2]]), "in their order");
        assert_eq!(json["alpha_pattern"], json!([["k_proj", 3.0]]));
        let written = TypedConfig::parse(&typed.to_toml().unwrap(), "run.toml", &[]).unwrap();
        let mut written = written.config;
        assert_eq!(MethodSettings::resolve(&mut written, 100, "h").to_json(), json);

        let mut typed = config("losia", &["period = 9", "lr_scheduler = \"cosine_restarts\""]);
        let MethodSettings::Losia(losia) = MethodSettings::resolve(&mut typed, 100, "h") else {
            panic!("another method")
        };
        assert_eq!((losia.period, losia.pro, losia.output_head.as_deref()), (9, false, Some("h")));
        assert_eq!(typed.rank_factor, Some(0.125));
    }
}
