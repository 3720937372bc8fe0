//! JSON objects read key by key, so that every error names its file and key.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;

/// A JSON object and where it came from.
#[derive(Debug)]
pub(crate) struct Object {
    origin: PathBuf,
    /// Keys of the parents, each followed by a dot.
    prefix: String,
    map: Map<String, Value>,
}

impl Object {
    /// The object in the file at `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&std::fs::read_to_string(path).map_err(Error::io(path))?, path)
    }

    /// Like [`read`](Self::read); an empty object where there is no such file.
    pub fn read_or_empty(path: &Path) -> Result<Self, Error> {
        match path.exists() {
            true => Self::read(path),
            false => Self::parse("{}", path),
        }
    }

    /// The object in `json`; errors name `origin` as its file.
    pub fn parse(json: &str, origin: &Path) -> Result<Self, Error> {
        let map = serde_json::from_str(json)
            .map_err(|e| Error::Json { path: origin.into(), reason: e.to_string() })?;
        Ok(Self { origin: origin.into(), prefix: String::new(), map })
    }

    /// The value of `key`; `None` where the key is missing or null.
    pub fn get<T: DeserializeOwned>(&self, key: &str, expected: &str) -> Result<Option<T>, Error> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|_| self.refuse(key, expected)),
        }
    }

    /// The value of `key`, which must be there.
    pub fn require<T: DeserializeOwned>(&self, key: &str, expected: &str) -> Result<T, Error> {
        self.get(key, expected)?.ok_or_else(|| self.refuse(key, expected))
    }

    /// Whether `key` is there, be it null.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The object under `key`; `None` where the key is missing or null.
    pub fn child(&self, key: &str) -> Result<Option<Self>, Error> {
        let map = self.get(key, "an object")?;
        Ok(map.map(|map| Self {
            origin: self.origin.clone(),
            prefix: format!("{}{key}.", self.prefix),
            map,
        }))
    }

    /// The error for a `key` that is not what was `expected`.
    pub fn refuse(&self, key: &str, expected: impl Into<String>) -> Error {
        let found = self.map.get(key).map_or("missing".into(), Value::to_string);
        Error::Key {
            path: self.origin.clone(),
            key: format!("{}{key}", self.prefix),
            found: shorten(found),
            expected: expected.into(),
        }
    }
}

/// Values are quoted in messages, so long ones are cut.
fn shorten(text: String) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object {
        Object::parse(json, Path::new("file.json")).unwrap()
    }

    #[test]
    fn null_and_missing_are_none() {
        let object = object(r#"{"a": null}"#);
        assert_eq!(object.get::<u32>("a", "a number").unwrap(), None);
        assert_eq!(object.get::<u32>("b", "a number").unwrap(), None);
    }

    #[test]
    fn errors_name_file_key_found_and_expected() {
        let object = object(r#"{"outer": {"size": "big"}}"#).child("outer").unwrap().unwrap();
        assert_eq!(
            object.require::<u32>("size", "a number").unwrap_err().to_string(),
            r#"file.json: `outer.size` is "big", expected a number"#
        );
        assert_eq!(
            object.require::<u32>("other", "a number").unwrap_err().to_string(),
            "file.json: `outer.other` is missing, expected a number"
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = Object::parse("[1", Path::new("file.json")).unwrap_err().to_string();
        assert!(error.starts_with("file.json: not a JSON object: "), "{error}");
    }

    #[test]
    fn long_values_are_cut() {
        let object = object(&format!(r#"{{"a": "{}"}}"#, "é".repeat(200)));
        let error = object.require::<u32>("a", "a number").unwrap_err().to_string();
        assert!(error.chars().count() < 140, "{error}");
    }
}
