//! A dataset's objects, read key by key.

use serde_json::{Map, Value};

use super::{Columns, DataFormat, Problem};

/// An object read by the keys of a format.
pub(super) struct Object<'a> {
    object: &'a Map<String, Value>,
    columns: &'a Columns,
    format: DataFormat,
}

impl<'a> Object<'a> {
    pub fn new(object: &'a Map<String, Value>, columns: &'a Columns, format: DataFormat) -> Self {
        Self { object, columns, format }
    }

    /// An object inside another one, whose keys are never renamed.
    pub fn inner(&self, object: &'a Map<String, Value>, columns: &'a Columns) -> Self {
        Self::new(object, columns, self.format)
    }

    /// The name that `key` has in the object.
    pub fn name(&self, key: &'static str) -> &'a str {
        column(self.columns, key)
    }

    /// The value of `key`, which must be there. An explicit `null` counts as an absent key:
    /// exporters write it for optional columns.
    pub fn value(&self, key: &'static str) -> Result<&'a Value, Problem> {
        self.optional(key).ok_or_else(|| Problem::MissingKey {
            key: self.name(key).into(),
            format: self.format,
            found: self.object.keys().cloned().collect(),
        })
    }

    /// The text under `key`, which must be there.
    pub fn text(&self, key: &'static str) -> Result<&'a str, Problem> {
        self.as_text(key, self.value(key)?)
    }

    /// The text under `key`, if it is there.
    pub fn optional_text(&self, key: &'static str) -> Result<Option<&'a str>, Problem> {
        self.optional(key).map(|value| self.as_text(key, value)).transpose()
    }

    /// The text under `key`, which must be there and not blank.
    pub fn answer(&self, key: &'static str) -> Result<&'a str, Problem> {
        match self.text(key)? {
            blank if blank.trim().is_empty() => {
                Err(Problem::EmptyAnswer { key: self.name(key).into() })
            }
            answer => Ok(answer),
        }
    }

    /// The value of `key`, if it is there.
    pub fn optional(&self, key: &'static str) -> Option<&'a Value> {
        self.object.get(self.name(key)).filter(|value| !value.is_null())
    }

    fn as_text(&self, key: &'static str, value: &'a Value) -> Result<&'a str, Problem> {
        let wrong = || Problem::WrongType {
            key: self.name(key).into(),
            expected: "a string",
            found: kind(value),
        };
        value.as_str().ok_or_else(wrong)
    }
}

/// The name that the column for `key` has.
pub(super) fn column<'a>(columns: &'a Columns, key: &'a str) -> &'a str {
    columns.get(key).map_or(key, String::as_str)
}

/// The name of a JSON value's type.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
