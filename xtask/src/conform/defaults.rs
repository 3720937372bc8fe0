//! What a case is taken to say where it does not say it.

/// Names of files, by what they are for.
const FILES: [(&str, &str); 14] = [
    ("config", "config.json"),
    ("config_legacy", "config.legacy.json"),
    ("weights", "model.safetensors"),
    ("adapter_config", "adapter_config.json"),
    ("adapter_weights", "adapter_model.safetensors"),
    ("io", "io.safetensors"),
    ("grads", "grads.safetensors"),
    ("init", "init.safetensors"),
    ("snapshots", "snapshots.safetensors"),
    ("final", "final.safetensors"),
    ("trace", "trace.json"),
    ("unit", "unit.json"),
    ("tensors", "unit.safetensors"),
    ("table", "table.json"),
];

/// The widest tolerances of the cases in this repository.
const TOLERANCES: [(&str, f64); 17] = [
    ("logits", 3e-4),
    ("merged_logits", 5e-4),
    ("merged_weights", 1e-5),
    ("hidden", 2e-4),
    ("loss", 1e-4),
    ("grads", 3e-5),
    ("inv_freq", 1e-6),
    ("weights", 1e-4),
    ("importance_rel", 2e-4),
    ("threshold_rel", 5e-4),
    ("score_rel", 2e-4),
    ("score_sum_rel", 1e-5),
    ("checksum_rel", 1e-3),
    ("lr", 1e-12),
    ("multiplier", 1e-12),
    ("sel", 2e-5),
    ("min_gap", 1e-5),
];

/// The name of the file in `role`.
pub fn file(role: &str) -> Option<&'static str> {
    look_up(&FILES, role)
}

/// How far `quantity` may be off.
pub fn tolerance(quantity: &str) -> Option<f64> {
    look_up(&TOLERANCES, quantity)
}

fn look_up<T: Copy>(table: &[(&str, T)], key: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}
