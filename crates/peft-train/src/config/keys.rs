//! The names of settings, and what else they are called.

/// Names that other tools have for settings, and that their users may type.
const ELSEWHERE: [(&str, &str); 25] = [
    ("adapter", "method"),
    ("alpha", "lora_alpha"),
    ("batch_size", "micro_batch_size"),
    ("bf16", "dtype"),
    ("cutoff_len", "sequence_len"),
    ("dataset", "datasets"),
    ("delta_t", "deltaT"),
    ("epochs", "num_epochs"),
    ("finetuning_type", "method"),
    ("fp16", "dtype"),
    ("gradient_clipping", "max_grad_norm"),
    ("lora_rank", "lora_r"),
    ("lora_target", "target_modules"),
    ("lora_target_modules", "target_modules"),
    ("lora_modules_to_save", "modules_to_save"),
    ("lr", "learning_rate"),
    ("lr_scheduler_type", "lr_scheduler"),
    ("max_length", "sequence_len"),
    ("max_seq_length", "sequence_len"),
    ("model_name_or_path", "base_model"),
    ("num_train_epochs", "num_epochs"),
    ("packing", "sample_packing"),
    ("per_device_train_batch_size", "micro_batch_size"),
    ("rank", "lora_r"),
    ("val_size", "val_set_size"),
];

/// Settings of other tools that have no counterpart, and why.
const ABSENT: [(&str, &str); 6] = [
    ("eval_steps", "the validation loss is measured at the end of every epoch"),
    ("gradient_checkpointing", "activations are kept: lower `micro_batch_size` or `sequence_len`"),
    ("load_in_4bit", "a quantised base cannot be trained: use `dtype = \"bf16\"`"),
    ("load_in_8bit", "a quantised base cannot be trained: use `dtype = \"bf16\"`"),
    ("optimizer", "what trains is stepped by AdamW"),
    ("optim", "what trains is stepped by AdamW"),
];

/// How alike two names are, from 0 to 1, for one to be taken for a misspelling of the other.
const ALIKE: f64 = 0.8;

/// What to do about a `key` that none of the `known` ones is.
pub(super) fn hint<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    if let Some((_, reason)) = ABSENT.iter().find(|(name, _)| *name == key) {
        return format!("there is no such setting: {reason}");
    }
    match nearest(key, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`burn-peft schema` lists all settings".into(),
    }
}

/// The name in `known` that `key` is most probably meant to be.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == key).map(|(_, meant)| *meant);
    let alike = |name: &'a str| match elsewhere {
        Some(meant) if meant == name => (f64::INFINITY, name),
        _ => (strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase()), name),
    };
    let best = known.map(alike).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainingConfig;

    fn nearest_of_all(key: &str) -> Option<String> {
        let schema = TrainingConfig::schema();
        let known = schema["properties"].as_object().unwrap().keys();
        nearest(key, known.map(String::as_str)).map(str::to_owned)
    }

    #[test]
    fn misspellings_are_recognised() {
        for (key, meant) in [
            ("peroid", "period"),
            ("learning-rate", "learning_rate"),
            ("deltat", "deltaT"),
            ("micro_batchsize", "micro_batch_size"),
            ("lora_R", "lora_r"),
        ] {
            assert_eq!(nearest_of_all(key).as_deref(), Some(meant));
        }
        assert_eq!(nearest_of_all("xyz"), None);
    }

    #[test]
    fn settings_without_a_counterpart_are_explained() {
        for (key, reason) in ABSENT {
            assert!(hint(key, [key].into_iter()).ends_with(reason));
        }
    }

    #[test]
    fn names_of_other_tools_are_known_and_mean_settings() {
        for (key, meant) in ELSEWHERE {
            assert_eq!(nearest_of_all(key).as_deref(), Some(meant));
        }
    }
}
