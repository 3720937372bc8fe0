//! From what was typed to a configuration, or to all that is wrong with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::{Table, Value};

use super::method::listed;
use super::source::{self, Entry};
use super::{
    MethodName, Place, Problem, Problems, TrainingConfig, keys, nested, overrides, schema,
};
use crate::Error;

/// A configuration, and where each of its settings was typed.
#[derive(Debug, Clone)]
pub struct TypedConfig {
    /// The configuration.
    pub config: TrainingConfig,
    file: Option<PathBuf>,
    places: BTreeMap<String, Place>,
    left_out: Vec<String>,
}

/// A configuration made in code: no setting has a place.
impl From<TrainingConfig> for TypedConfig {
    fn from(config: TrainingConfig) -> Self {
        Self { config, file: None, places: BTreeMap::new(), left_out: Vec::new() }
    }
}

impl TypedConfig {
    /// Reads the TOML file at `path`. Each of `settings` is a `key=value` that goes before the
    /// file's. Where one of them is another `method`, what the file says for its own method alone is
    /// left out.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] with all that is wrong by itself: unknown and missing keys,
    /// wrong types, settings of another method, values out of their range.
    pub fn read(path: impl AsRef<Path>, settings: &[String]) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
        Self::parse(&text, path, settings)
    }

    /// Like [`read`](Self::read), from text; problems name `path` as its file.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn parse(text: &str, path: impl AsRef<Path>, settings: &[String]) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut entries = source::file(text, path).map_err(|p| Problems(vec![p]))?;
        let (of_file, mut problems) = (overrides::method(&entries), Vec::new());
        for setting in settings {
            match source::setting(setting) {
                Ok((key, entry)) => drop(entries.insert(key, entry)),
                Err(problem) => problems.push(problem),
            }
        }
        let left_out = overrides::leave_out(&mut entries, of_file);
        let reader = Reader { schema: TrainingConfig::schema(), problems };
        Ok(Self { left_out, ..reader.read(entries, path)? })
    }

    /// What of the file does not count, in words.
    pub(crate) fn notes(&self) -> Vec<String> {
        let keys: Vec<_> = self.left_out.iter().map(|key| format!("`{key}`")).collect();
        let (file, method) = (self.file.as_deref().unwrap_or(Path::new("")), self.config.method);
        let note = || {
            let (file, keys) = (file.display(), keys.join(", "));
            format!("left out of {file}, because {method} has no such setting or value: {keys}")
        };
        (!keys.is_empty()).then(note).into_iter().collect()
    }

    /// A problem of the setting `key`, at the place where it was typed.
    pub(crate) fn problem(&self, key: &str, message: String, hint: Option<String>) -> Problem {
        let place = self.places.get(key).cloned();
        Problem { place: place.or(self.file.clone().map(Place::File)), message, hint }
    }
}

struct Reader {
    schema: Json,
    problems: Vec<Problem>,
}

impl Reader {
    fn read(mut self, entries: BTreeMap<String, Entry>, path: &Path) -> Result<TypedConfig, Error> {
        let method = overrides::method(&entries);
        self.missing(&entries, path);
        let (mut table, mut places) = (Table::new(), BTreeMap::new());
        for (key, entry) in entries {
            let nested = nested::problems(&self.schema, &key, &entry);
            if !nested.is_empty() {
                self.problems.extend(nested);
                continue;
            }
            let Entry { value, place, .. } = entry;
            if let Some((message, hint)) = self.refusal(&key, &value, method) {
                self.problems.push(Problem { place: Some(place), message, hint });
                continue;
            }
            places.insert(key.clone(), place);
            table.insert(key, value);
        }
        if !self.problems.is_empty() {
            return Err(Problems(self.problems).into());
        }
        let config = table.try_into::<TrainingConfig>().map_err(|e| {
            let place = Some(Place::File(path.into()));
            Problems(vec![Problem { place, message: e.message().into(), hint: None }])
        })?;
        let file = Some(path.to_owned());
        let typed = TypedConfig { config, file, places, left_out: Vec::new() };
        typed.check()?;
        Ok(typed)
    }

    /// What is wrong with a key and its value, and a hint.
    fn refusal(
        &self,
        key: &str,
        value: &Value,
        method: Option<MethodName>,
    ) -> Option<(String, Option<String>)> {
        let known = self.schema["properties"].as_object()?;
        if !known.contains_key(key) {
            let hint = keys::hint(key, known.keys().map(String::as_str));
            return Some((format!("unknown key `{key}`"), Some(hint)));
        }
        let methods = MethodName::with_key(key);
        if let Some((method, methods)) = method.zip(methods).filter(|(m, ms)| !ms.contains(m)) {
            let of = listed(methods);
            let message = format!("`{key}` is a setting of {of}, but `method` is \"{method}\"");
            return Some((message, Some("leave it out, or choose another method".into())));
        }
        let problem = wrong_type(key, value)?;
        let message = match schema::expected(&self.schema, key) {
            table if table.ends_with("a table") && value.is_array() => {
                format!("`{key}`: {problem}")
            }
            expected => format!("`{key}` is {value}, expected {expected}"),
        };
        Some((message, None))
    }

    fn missing(&mut self, entries: &BTreeMap<String, Entry>, path: &Path) {
        let required = self.schema["required"].as_array().into_iter().flatten();
        let missing = required.filter_map(Json::as_str).filter(|key| !entries.contains_key(*key));
        self.problems.extend(missing.map(|key| Problem {
            place: Some(Place::File(path.into())),
            message: format!("`{key}` is missing"),
            hint: self.schema["properties"][key]["description"].as_str().map(str::to_owned),
        }));
    }
}

/// What serde says of a value that is not of the key's type. The key is tried in a configuration in
/// which all else is right, so that every wrong one is found.
fn wrong_type(key: &str, value: &Value) -> Option<String> {
    let mut table = Table::new();
    for required in ["base_model", "output_dir"] {
        table.insert(required.into(), "x".into());
    }
    table.insert("method".into(), "lora".into());
    table.insert("datasets".into(), Value::Array(Vec::new()));
    table.insert(key.into(), value.clone());
    table.try_into::<TrainingConfig>().err().map(|error| error.message().to_string())
}
