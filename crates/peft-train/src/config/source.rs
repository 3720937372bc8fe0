//! What was typed, key by key, with the place of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Place, Problem};

/// A value and where it was typed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub value: Value,
    pub place: Place,
    /// In a list of tables, the places of each table's keys; empty for what the command line says.
    pub inner: Vec<BTreeMap<String, Place>>,
}

impl Entry {
    /// Where `key` of table number `index` was typed, as near as that is known.
    pub fn inner_place(&self, index: usize, key: &str) -> Place {
        let inner = self.inner.get(index).and_then(|places| places.get(key));
        inner.unwrap_or(&self.place).clone()
    }
}

/// The top-level keys of the TOML in `text`.
pub(super) fn file(text: &str, path: &Path) -> Result<BTreeMap<String, Entry>, Problem> {
    let hint = match path.extension().is_some_and(|name| name == "yml" || name == "yaml") {
        true => "configs are TOML, not YAML: `key = \"value\"`, lists in brackets",
        false => "strings stand in quotes, lists in brackets: `key = \"value\"`",
    };
    let broken = |error: toml::de::Error| Problem {
        place: Some(place(text, path, error.span().map_or(0, |span| span.start))),
        message: format!("not TOML: {}", error.message().replace('\n', ", ")),
        hint: Some(hint.into()),
    };
    let spans = DeTable::parse(text).map_err(broken)?;
    let spans = spans.get_ref();
    let mut places = places(spans, text, path);
    let values: Table = toml::from_str(text).map_err(broken)?;
    let entry = |(key, value): (String, Value)| {
        let place = places.remove(&key).unwrap_or_else(|| Place::File(path.into()));
        let inner = spans.get(key.as_str()).map(|value| inner_places(value.get_ref(), text, path));
        (key, Entry { value, place, inner: inner.unwrap_or_default() })
    };
    Ok(values.into_iter().map(entry).collect())
}

/// Where the keys of `table` are.
fn places(table: &DeTable<'_>, text: &str, path: &Path) -> BTreeMap<String, Place> {
    let keys = table.keys();
    keys.map(|key| (key.get_ref().to_string(), place(text, path, key.span().start))).collect()
}

/// Where the keys of the tables in a list are.
fn inner_places(value: &DeValue<'_>, text: &str, path: &Path) -> Vec<BTreeMap<String, Place>> {
    let items = value.as_array().into_iter().flat_map(|items| items.iter());
    let tables = items.map(|item| item.get_ref().as_table());
    tables.map(|table| table.map_or_else(BTreeMap::new, |t| places(t, text, path))).collect()
}

fn place(text: &str, path: &Path, offset: usize) -> Place {
    let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    Place::Line(PathBuf::from(path), line)
}

/// A `key=value` of the command line. The value is TOML; what is no TOML is taken for a string, so
/// that paths and names need no quotes within those of the shell.
pub(super) fn setting(text: &str) -> Result<(String, Entry), Problem> {
    let problem = |message| Problem {
        place: Some(Place::CommandLine),
        message,
        hint: Some("settings are written `key=value`, lists as `key='[\"a\", \"b\"]'`".into()),
    };
    let Some((key, value)) = text.split_once('=') else {
        return Err(problem(format!("`{text}` is no setting: it has no `=`")));
    };
    let (key, value) = (key.trim(), value.trim());
    let parsed = value.parse::<Value>();
    let value = match parsed {
        Ok(value) => value,
        Err(_) if !value.starts_with(['[', '{', '"', '\'']) => Value::String(value.into()),
        Err(e) => {
            let reason = e.message().replace('\n', ", ");
            return Err(problem(format!("`{key}`: {value} is not TOML: {reason}")));
        }
    };
    Ok((key.into(), Entry { value, place: Place::CommandLine, inner: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_know_their_lines() {
        let text = "# comment\na = 1\n\nb = [\n  2,\n]\n[[c]]\npath = \"x\"\n";
        let entries = file(text, Path::new("run.toml")).unwrap();
        let lines: Vec<_> =
            entries.iter().map(|(key, entry)| format!("{} {key}", entry.place)).collect();
        assert_eq!(lines, ["run.toml:2 a", "run.toml:4 b", "run.toml:7 c"]);
        assert_eq!(entries["b"].value, Value::Array(vec![2.into()]));
    }

    #[test]
    fn keys_of_tables_in_a_list_know_their_lines() {
        let text = "a = [\n  { b = 1,\n    c = 2 },\n  3,\n]\n[[d]]\ne = 1\n[[d]]\n\nf = 1\n";
        let entries = file(text, Path::new("run.toml")).unwrap();
        let line = |key: &str, index, inner| entries[key].inner_place(index, inner).to_string();
        assert_eq!([line("a", 0, "b"), line("a", 0, "c")], ["run.toml:2", "run.toml:3"]);
        assert_eq!([line("d", 0, "e"), line("d", 1, "f")], ["run.toml:7", "run.toml:10"]);
        assert_eq!([line("a", 1, "x"), line("a", 9, "x")], ["run.toml:1"; 2], "the list's");
    }

    #[test]
    fn broken_toml_is_refused_with_its_line() {
        for (text, line) in [("a = 1\nb = lora\n", 2), ("a = 1\na = 2\n", 2), ("a", 1)] {
            let problem = file(text, Path::new("run.toml")).unwrap_err();
            assert_eq!(problem.place, Some(Place::Line("run.toml".into(), line)), "{problem}");
            assert!(problem.message.starts_with("not TOML: "), "{problem}");
        }
    }

    #[test]
    fn yaml_is_told_that_configs_are_toml() {
        let hint = |name: &str| file("a: 1\n", Path::new(name)).unwrap_err().hint.unwrap();
        for name in ["run.yml", "run.yaml"] {
            assert!(hint(name).starts_with("configs are TOML, not YAML"), "{name}");
        }
        assert!(hint("run.toml").starts_with("strings stand in quotes"));
    }

    #[test]
    fn settings_are_toml_or_plain_words() {
        for (text, key, value) in [
            ("period=50", "period", Value::Integer(50)),
            ("learning_rate = 2e-5", "learning_rate", Value::Float(2e-5)),
            ("sample_packing=true", "sample_packing", Value::Boolean(true)),
            ("method=losia-pro", "method", "losia-pro".into()),
            ("output_dir=runs/a=b", "output_dir", "runs/a=b".into()),
            ("dtype=\"bf16\"", "dtype", "bf16".into()),
            ("target_modules=['q_proj']", "target_modules", vec!["q_proj"].into()),
            ("period=", "period", "".into()),
        ] {
            let (found, entry) = setting(text).unwrap();
            assert_eq!((found.as_str(), entry.value), (key, value), "{text}");
            assert_eq!(entry.place, Place::CommandLine);
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        let message = |text| setting(text).unwrap_err().to_string();
        assert_eq!(message("--lora"), "command line: `--lora` is no setting: it has no `=`");
        assert!(
            message("target_modules=[q_proj]")
                .starts_with("command line: `target_modules`: [q_proj] is not TOML: ")
        );
    }
}
