//! Where a checkpoint keeps its chat templates.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, json::Object};

pub(super) const FILE: &str = "chat_template.jinja";
const FOLDER: &str = "additional_chat_templates";
const CONFIG: &str = "tokenizer_config.json";
const KEY: &str = "chat_template";
const DEFAULT: &str = "default";

/// The value of `chat_template` in `tokenizer_config.json`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// The template called `name` and its file.
pub fn find(dir: &Path, name: Option<&str>) -> Result<(String, PathBuf), Error> {
    let name = name.unwrap_or(DEFAULT);
    let file = match name {
        DEFAULT => dir.join(FILE),
        name => dir.join(FOLDER).join(format!("{name}.jinja")),
    };
    if file.is_file() {
        return Ok((std::fs::read_to_string(&file).map_err(Error::io(&file))?, file));
    }
    let path = dir.join(CONFIG);
    let expected = "a template, or a list of objects with `name` and `template`";
    let templates = match Object::read_or_empty(&path)?.get(KEY, expected)? {
        None => Vec::new(),
        Some(Templates::One(template)) => vec![Named { name: DEFAULT.into(), template }],
        Some(Templates::Named(templates)) => templates,
    };
    let found: Vec<String> = templates.iter().map(|t| t.name.clone()).collect();
    match templates.into_iter().find(|template| template.name == name) {
        Some(named) => Ok((named.template, path)),
        None => Err(Error::NoChatTemplate { path: dir.into(), name: name.into(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn folder(config: Value) -> TempDir {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join(CONFIG), config.to_string()).unwrap();
        dir
    }

    fn text(dir: &TempDir, name: Option<&str>) -> Result<String, Error> {
        find(dir.path(), name).map(|(source, _)| source)
    }

    #[test]
    fn one_template_is_the_default() {
        let dir = folder(json!({"chat_template": "plain"}));
        assert_eq!(text(&dir, None).unwrap(), "plain");
        assert_eq!(text(&dir, Some("default")).unwrap(), "plain");
    }

    #[test]
    fn templates_of_a_list_go_by_name() {
        let list = json!([
            {"name": "tool_use", "template": "with tools"},
            {"name": "default", "template": "plain"},
        ]);
        let dir = folder(json!({"chat_template": list}));
        assert_eq!(text(&dir, None).unwrap(), "plain");
        assert_eq!(text(&dir, Some("tool_use")).unwrap(), "with tools");
        let error = text(&dir, Some("rag")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("no chat template `rag`"), "{message}");
        assert!(message.contains("found tool_use, default"), "{message}");
    }

    #[test]
    fn files_go_before_the_configuration() {
        let dir = folder(json!({"chat_template": "old"}));
        std::fs::write(dir.path().join(FILE), "new").unwrap();
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        std::fs::write(dir.path().join(FOLDER).join("rag.jinja"), "other").unwrap();
        assert_eq!(text(&dir, None).unwrap(), "new");
        assert_eq!(text(&dir, Some("rag")).unwrap(), "other");
    }

    #[test]
    fn a_missing_template_and_a_wrong_key_are_named() {
        for config in [json!({}), json!({"chat_template": null})] {
            let error = text(&folder(config), None).unwrap_err();
            assert!(error.to_string().contains("no chat template"), "{error}");
            assert!(error.hint().unwrap().contains("`chat_template`"));
        }
        let error = text(&folder(json!({"chat_template": 1})), None).unwrap_err();
        assert!(error.to_string().contains("`chat_template` is 1, expected a template"), "{error}");
        let empty = TempDir::new().unwrap();
        assert!(matches!(text(&empty, None), Err(Error::NoChatTemplate { .. })));
    }
}
