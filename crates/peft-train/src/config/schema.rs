//! The JSON schema of a configuration, and what it says of a key in words.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value};

use super::TrainingConfig;
use super::method::{MethodName, listed};

impl TrainingConfig {
    /// The JSON schema of a configuration (draft 2020-12), for editors and other programs.
    pub fn schema() -> Value {
        let settings = SchemaSettings::default().with_transform(Tidy);
        let schema = settings.into_generator().into_root_schema_for::<Self>();
        let mut schema = Value::from(schema);
        if let Some(properties) = schema["properties"].as_object_mut() {
            properties.iter_mut().for_each(|(key, property)| name_methods(key, property));
        }
        schema
    }
}

/// Says in a description which methods have the setting.
fn name_methods(key: &str, property: &mut Value) {
    if let Some(methods) = MethodName::with_key(key) {
        let description = property["description"].as_str().unwrap_or_default();
        property["description"] = format!("{description} Only with {}.", listed(methods)).into();
    }
}

/// Leaves out null, which TOML has not: what is optional is absent. Joins the lines of descriptions,
/// which are wrapped as the source is.
#[derive(Debug, Clone)]
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = &types[..] {
                object["type"] = only.clone();
            }
        }
        if object.get("default") == Some(&Value::Null) {
            object.remove("default");
        }
        without_null_variant(object);
        if let Some(Value::String(description)) = object.get_mut("description") {
            let paragraphs = description.split("\n\n").map(|lines| lines.replace('\n', " "));
            *description = paragraphs.collect::<Vec<_>>().join("\n\n");
        }
    }
}

fn without_null_variant(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get_mut("anyOf") else { return };
    variants.retain(|variant| variant["type"] != "null");
    if let [Value::Object(only)] = &mut variants[..] {
        let only = std::mem::take(only);
        object.remove("anyOf");
        object.extend(only.into_iter().filter(|(key, _)| key != "description"));
    }
}

/// What the value of a setting must be, in words, from its schema.
pub(super) fn expected(root: &Value, key: &str) -> String {
    describe(root, &root["properties"][key])
}

/// The schema itself, or the one it refers to.
pub(super) fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => root.pointer(&reference[1..]).unwrap_or(&Value::Null),
        None => schema,
    }
}

/// What a value must be, in words.
pub(super) fn describe(root: &Value, schema: &Value) -> String {
    let schema = resolved(root, schema);
    if let Some(choices) = choices(schema) {
        return format!("one of {}", choices.join(", "));
    }
    if let Some(variants) = schema["anyOf"].as_array() {
        let words: Vec<_> = variants.iter().map(|variant| describe(root, variant)).collect();
        return words.join(" or ");
    }
    match schema["type"].as_str() {
        Some("integer") if schema["minimum"] == 1 => "a whole number, 1 or more".into(),
        Some("integer") => "a whole number, 0 or more".into(),
        Some("number") => "a number".into(),
        Some("boolean") => "true or false".into(),
        Some("array") => format!("a list, each item {}", describe(root, &schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("a table, each value {}", describe(root, &schema["additionalProperties"]))
        }
        Some("object") => "a table".into(),
        _ => "a string".into(),
    }
}

/// The values of an enumeration.
fn choices(schema: &Value) -> Option<Vec<String>> {
    let quoted = |value: &Value| value.as_str().map(|text| format!("{text:?}"));
    match (schema["enum"].as_array(), schema["oneOf"].as_array()) {
        (Some(values), _) => values.iter().map(quoted).collect(),
        (None, Some(variants)) => {
            variants.iter().map(|variant| quoted(&variant["const"])).collect()
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_and_none_is_null() {
        let schema = TrainingConfig::schema();
        assert!(!schema.to_string().contains("null"), "{schema:#}");
        assert_eq!(schema["additionalProperties"], false);
        for (key, property) in schema["properties"].as_object().unwrap() {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{key}: {description:?}");
        }
        let required: Vec<_> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key.as_str().unwrap())
            .collect();
        assert_eq!(required, ["base_model", "method", "datasets", "output_dir"]);
    }

    #[test]
    fn a_setting_of_some_methods_says_so() {
        let schema = TrainingConfig::schema();
        let description = schema["properties"]["period"]["description"].as_str().unwrap();
        assert!(description.ends_with("Default: 100. Only with losia-pro and losia."));
        let optional = [TrainingConfig::schema()["properties"]["seed"]["default"].clone()];
        assert_eq!(optional, [0]);
    }

    #[test]
    fn values_are_described_in_words() {
        let schema = TrainingConfig::schema();
        for (key, words) in [
            ("period", "a whole number, 1 or more"),
            ("tinit", "a whole number, 0 or more"),
            ("learning_rate", "a number"),
            ("sample_packing", "true or false"),
            ("base_model", "a string"),
            ("dtype", r#"one of "f32", "bf16", "f16""#),
            (
                "lr_scheduler",
                r#"one of "cosine", "cosine_restarts", "no_rewarming", "linear", "constant""#,
            ),
            ("target_modules", "a string or a list, each item a string"),
            ("layers_to_transform", "a list, each item a whole number, 0 or more"),
            ("datasets", "a list, each item a table"),
        ] {
            assert_eq!(expected(&schema, key), words, "{key}");
        }
    }
}
