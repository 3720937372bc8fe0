//! Adapters that this module's tests share.

use std::path::PathBuf;

use burn::tensor::{DType, TensorData};
use serde_json::{Value, json};

use super::{AdapterConfig, AdapterFiles, LoraFields, ModuleTensors, PeftType};
use crate::TargetModules;

/// Folder of a recorded adapter, as PEFT wrote it.
pub fn case(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../tests/cases", name].iter().collect()
}

/// A configuration of LoRA.
pub fn lora() -> Value {
    json!({"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]})
}

/// A configuration of AdaLoRA.
pub fn adalora() -> Value {
    json!({
        "peft_type": "ADALORA", "target_modules": ["q_proj"],
        "init_r": 3, "target_r": 2, "tinit": 5, "tfinal": 10, "total_step": 100,
    })
}

/// A tensor of that shape with a value of its own in each element.
pub fn tensor(shape: &[usize]) -> TensorData {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32 + 0.5).collect();
    TensorData::new(values, shape.to_vec())
}

/// A LoRA adapter of rank 2 on `layers.0.q_proj` (3 inputs, 5 outputs).
pub fn adapter() -> AdapterFiles {
    let names = TargetModules::Names(vec!["q_proj".into()]);
    let (a, b) = (tensor(&[2, 3]).convert_dtype(DType::BF16), tensor(&[5, 2]));
    let tensors = ModuleTensors::Lora { a, b, magnitude: None };
    AdapterFiles {
        config: AdapterConfig::new(PeftType::Lora(LoraFields::new(2)), 4.0, names),
        modules: [("layers.0.q_proj".to_string(), tensors)].into(),
        other: [].into(),
    }
}
