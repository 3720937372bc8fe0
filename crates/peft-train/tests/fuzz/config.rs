//! Configuration files and settings of the command line.

use std::sync::LazyLock;

use peft_train::config::TrainingConfig;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::readers;

/// What a run needs.
const REQUIRED: [&str; 4] =
    ["base_model = 'm'", "method = 'lora'", "datasets = [{ path = 'd' }]", "output_dir = 'o'"];

/// Values of all types, in and out of range, and what is no TOML.
const VALUES: [&str; 32] = [
    "0",
    "1",
    "-1",
    "7",
    "9223372036854775807",
    "0.0",
    "-0.0",
    "0.5",
    "1.5",
    "1e-320",
    "1e308",
    "inf",
    "-inf",
    "nan",
    "true",
    "''",
    "'auto'",
    "'lora'",
    "'losia-pro'",
    "'adalora'",
    "'full'",
    "'cosine'",
    "'bf16'",
    "'*['",
    "[]",
    "[0, 1]",
    "['q_proj', 'lm_head']",
    "[{ path = 'x', weight = 0.5 }]",
    "[{ path = 'x', type = 'alpaca', split = 'train', nothing = 1 }]",
    "{ a = 1 }",
    "1979-05-27",
    "['",
];

/// The settings there are.
fn key() -> impl Strategy<Value = String> {
    static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let schema = TrainingConfig::schema();
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    });
    select(&KEYS[..])
}

fn entries(max: usize) -> impl Strategy<Value = Vec<String>> {
    let entries = btree_map(key(), select(&VALUES[..]), 0..max);
    entries
        .prop_map(|entries| entries.iter().map(|(key, value)| format!("{key}={value}")).collect())
}

proptest! {
    #[test]
    fn configs(toml in "\\PC{0,60}", settings in vec("\\PC{0,12}", 0..3)) {
        readers::config(&toml, &settings);
    }

    #[test]
    fn settings_with_odd_values(of_file in entries(3), of_line in entries(3), left in 0..5_usize) {
        let keys: Vec<_> = of_file.iter().filter_map(|entry| entry.split('=').next()).collect();
        let needed = REQUIRED.iter().filter(|line| !keys.iter().any(|key| line.starts_with(key)));
        let needed: Vec<_> = needed.enumerate().filter(|(at, _)| *at != left).collect();
        let mut lines: Vec<&str> = needed.into_iter().map(|(_, line)| *line).collect();
        lines.extend(of_file.iter().map(String::as_str));
        readers::config(&lines.join("\n"), &of_line);
    }
}
