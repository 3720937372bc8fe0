//! Settings that are lists of tables, such as datasets, key by key.

use serde_json::Value as Json;
use toml::{Table, Value};

use super::source::Entry;
use super::{Problem, keys, schema};
use crate::data::{DataFormat, DatasetConfig};

/// What is wrong with the tables of the setting `key`, if it is a list of tables.
pub(super) fn problems(root: &Json, key: &str, entry: &Entry) -> Vec<Problem> {
    let known = schema::resolved(root, &root["properties"][key]["items"]);
    let (Some(known), Value::Array(items)) = (known["properties"].as_object(), &entry.value) else {
        return Vec::new();
    };
    let tables = items.iter().enumerate().filter_map(|(i, item)| Some((i, item.as_table()?)));
    let settings = tables.flat_map(|(i, table)| table.iter().map(move |(k, value)| (i, k, value)));
    let problem = |(index, inner, value): (usize, &String, &Value)| {
        let name = format!("`{key}[{index}].{inner}`");
        let (message, hint) = match known.get(inner) {
            None => {
                let hint = keys::hint_in_dataset(inner, known.keys().map(String::as_str));
                (format!("unknown key {name}"), Some(hint))
            }
            Some(_) if is_of_its_type(inner, value) => return None,
            Some(property) => {
                let expected = schema::describe(root, property);
                (format!("{name} is {value}, expected {expected}"), hint_of_value(inner, value))
            }
        };
        Some(Problem { place: Some(entry.inner_place(index, inner)), message, hint })
    };
    settings.filter_map(problem).collect()
}

fn hint_of_value(key: &str, value: &Value) -> Option<String> {
    let format = value.as_str().filter(|_| key == "type")?;
    let known = DataFormat::ALL.map(|format| format.to_string());
    keys::hint_of_format(format, known.iter().map(String::as_str))
}

/// Whether the key of a dataset takes such a value. It is tried beside what all datasets must have.
fn is_of_its_type(key: &str, value: &Value) -> bool {
    let mut table = Table::new();
    table.insert("path".into(), "x".into());
    table.insert(key.into(), value.clone());
    table.try_into::<DatasetConfig>().is_ok()
}
