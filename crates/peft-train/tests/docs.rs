//! The list of settings in docs/cli.md is that of the schema.

use std::fs;
use std::path::Path;

use peft_train::config::TrainingConfig;
use serde_json::Value;

fn row((key, property): (&String, &Value), required: &[Value]) -> String {
    let default = match &property["default"] {
        Value::Null if required.iter().any(|name| name == key) => "required".into(),
        Value::Null => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    };
    let description = property["description"].as_str().unwrap();
    format!("| `{key}` | {default} | {} |\n", description.trim_end_matches('.'))
}

#[test]
fn the_settings_are_listed_as_the_schema_has_them() {
    let schema = TrainingConfig::schema();
    let required = schema["required"].as_array().unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let rows: String = properties.iter().map(|property| row(property, required)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(&rows), "docs/cli.md should hold these rows:\n{rows}");
}
