//! A JSON object taken apart key by key, so that every error names its file and key.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// The value of a key. Objects keep the order of their own keys, which `Value` would sort.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Field {
    Object(IndexMap<String, Value>),
    Other(Value),
}

impl From<Field> for Value {
    fn from(field: Field) -> Self {
        match field {
            Field::Object(entries) => Self::Object(entries.into_iter().collect()),
            Field::Other(value) => value,
        }
    }
}

/// What has not yet been taken from an object.
pub(super) struct Fields<'a> {
    path: &'a Path,
    fields: BTreeMap<String, Field>,
}

impl<'a> Fields<'a> {
    /// The object in `json`; errors name `path` as its file.
    pub fn parse(json: &str, path: &'a Path) -> Result<Self, Error> {
        let fields = serde_json::from_str(json).map_err(|e| Error::File {
            path: path.into(),
            problem: format!("not a JSON object: {e}"),
            hint: "the file is damaged or incomplete: download or write it again",
        })?;
        Ok(Self { path, fields })
    }

    /// Takes the value of `key`; `None` where the key is missing.
    pub fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        let Some(field) = self.fields.remove(key) else { return Ok(None) };
        let value = Value::from(field);
        match T::deserialize(&value) {
            Ok(taken) => Ok(Some(taken)),
            Err(_) => Err(key_error(self.path, key, value, expected)),
        }
    }

    /// Takes the value of `key`, which must be there.
    pub fn require<T: DeserializeOwned>(&mut self, key: &str, expected: &str) -> Result<T, Error> {
        let taken = self.take(key, expected)?;
        taken.ok_or_else(|| key_error(self.path, key, "missing", expected))
    }

    /// Takes the value of `key`; `None` where the key is missing or null.
    pub fn nullable<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        Ok(self.take::<Option<T>>(key, expected)?.flatten())
    }

    /// Takes the object at `key`, in its own order; `None` where the key is missing or null.
    pub fn entries<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<IndexMap<String, T>>, Error> {
        let entries = match self.fields.remove(key) {
            None | Some(Field::Other(Value::Null)) => return Ok(None),
            Some(Field::Object(entries)) => entries,
            Some(Field::Other(value)) => {
                return Err(key_error(self.path, key, value, &format!("an object of {expected}")));
            }
        };
        let typed = entries.into_iter().map(|(name, value)| match T::deserialize(&value) {
            Ok(taken) => Ok((name, taken)),
            Err(_) => Err(key_error(self.path, &entry(key, &name), value, expected)),
        });
        typed.collect::<Result<_, _>>().map(Some)
    }

    /// What is left.
    pub fn rest(self) -> BTreeMap<String, Value> {
        self.fields.into_iter().map(|(key, field)| (key, field.into())).collect()
    }
}

/// The name, for errors, of an entry of the object at `key`.
pub(super) fn entry(key: &str, name: &str) -> String {
    format!("{key}[{name:?}]")
}

/// The error for a `key` that is not what was `expected`.
pub(super) fn key_error(path: &Path, key: &str, found: impl ToString, expected: &str) -> Error {
    Error::Key {
        path: path.into(),
        key: key.into(),
        found: shorten(found.to_string()),
        expected: expected.into(),
    }
}

/// Values are quoted in messages, so long ones are cut.
pub(super) fn shorten(text: String) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields<'static> {
        Fields::parse(json, Path::new("file.json")).unwrap()
    }

    #[test]
    fn a_null_is_a_value_only_where_it_is_allowed() {
        let mut fields = fields(r#"{"a": null, "b": null, "c": null}"#);
        let error = fields.take::<usize>("a", "a number").unwrap_err().to_string();
        assert_eq!(error, "file.json: `a` is null, expected a number");
        assert_eq!(fields.nullable::<usize>("b", "a number").unwrap(), None);
        assert_eq!(fields.entries::<usize>("c", "numbers").unwrap(), None);
        assert!(fields.rest().is_empty());
    }

    #[test]
    fn errors_name_file_key_found_and_expected() {
        let mut fields = fields(r#"{"a": "big", "b": [1], "c": {"x.y": 1, "z": true}}"#);
        assert_eq!(
            fields.require::<usize>("a", "a number").unwrap_err().to_string(),
            "file.json: `a` is \"big\", expected a number"
        );
        assert_eq!(
            fields.require::<usize>("a", "a number").unwrap_err().to_string(),
            "file.json: `a` is missing, expected a number",
            "it was taken"
        );
        assert_eq!(
            fields.entries::<usize>("b", "numbers").unwrap_err().to_string(),
            "file.json: `b` is [1], expected an object of numbers"
        );
        assert_eq!(
            fields.entries::<usize>("c", "numbers").unwrap_err().to_string(),
            "file.json: `c[\"z\"]` is true, expected numbers"
        );
    }

    #[test]
    fn entries_keep_their_order() {
        let entries = fields(r#"{"a": {"z": 1, "b": 2, "y": 3}}"#).entries::<usize>("a", "");
        let entries = entries.unwrap().unwrap();
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["z", "b", "y"]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["[1]", "", "{\"a\": 1", "null"] {
            let error = Fields::parse(json, Path::new("file.json")).err().unwrap();
            assert!(error.to_string().starts_with("file.json: not a JSON object: "), "{error}");
            assert!(error.hint().unwrap().contains("damaged"));
        }
    }

    #[test]
    fn long_values_are_cut() {
        let mut fields = fields(&format!(r#"{{"a": "{}"}}"#, "é".repeat(200)));
        let error = fields.take::<usize>("a", "a number").unwrap_err().to_string();
        assert!(error.chars().count() < 140, "{error}");
    }
}
