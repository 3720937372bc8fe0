//! The formats a dataset's JSON objects may have.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the model reads and what it is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text before the answer; empty for plain text.
    pub prompt: String,
    /// The text to learn; never blank.
    pub completion: String,
}

/// The format of a dataset's objects. Keys beyond those named are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// `{"instruction", "input"?, "output"}`, rendered by [`alpaca_prompt`].
    Alpaca,
    /// `{"prompt", "completion"}`, used verbatim.
    PromptCompletion,
    /// `{"text"}`: a completion without a prompt.
    Text,
}

/// Why a line of a dataset is not an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at byte {column}")]
    NotUtf8 {
        /// The first bad byte of the line, counted from 1.
        column: usize,
    },
    /// The text is not JSON.
    #[error("invalid JSON at byte {column}: {reason}")]
    NotJson {
        /// Where the parser stopped in the line, counted from 1.
        column: usize,
        /// The parser's reason.
        reason: String,
    },
    /// The JSON value is not an object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of value.
        found: &'static str,
    },
    /// A key of the format is missing.
    #[error("missing key `{key}` (format {format}); found {}", found.join(", "))]
    MissingKey {
        /// The key.
        key: &'static str,
        /// The format that needs it.
        format: DataFormat,
        /// The object's keys.
        found: Vec<String>,
    },
    /// A key's value is not text.
    #[error("key `{key}`: expected a string, found {found}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The kind of value.
        found: &'static str,
    },
    /// There is nothing to learn.
    #[error("key `{key}`: expected an answer, found only white space")]
    EmptyAnswer {
        /// The key.
        key: &'static str,
    },
}

impl DataFormat {
    /// All formats, in the order in which they are tried on a dataset's first object.
    pub const ALL: [Self; 3] = [Self::Alpaca, Self::PromptCompletion, Self::Text];

    /// The keys every object of the format has; the last one holds the answer.
    pub fn required_keys(self) -> &'static [&'static str] {
        match self {
            Self::Alpaca => &["instruction", "output"],
            Self::PromptCompletion => &["prompt", "completion"],
            Self::Text => &["text"],
        }
    }

    /// The first format all of whose required keys are there.
    pub fn detect(object: &Map<String, Value>) -> Option<Self> {
        Self::ALL.into_iter().find(|format| {
            let mut keys = format.required_keys().iter();
            keys.all(|key| object.contains_key(*key))
        })
    }

    /// Reads an object of this format.
    ///
    /// # Errors
    /// A [`LineProblem`] when a required key is missing, a value is not a string, or the answer
    /// is blank.
    pub fn example(self, object: &Map<String, Value>) -> Result<Example, LineProblem> {
        let required = |key| text(object, key)?.ok_or_else(|| self.missing(key, object));
        let answer = |key| match required(key)? {
            blank if blank.trim().is_empty() => Err(LineProblem::EmptyAnswer { key }),
            answer => Ok(answer.to_owned()),
        };
        let (prompt, completion) = match self {
            Self::Alpaca => {
                let input = text(object, "input")?;
                (alpaca_prompt(required("instruction")?, input), answer("output")?)
            }
            Self::PromptCompletion => (required("prompt")?.to_owned(), answer("completion")?),
            Self::Text => (String::new(), answer("text")?),
        };
        Ok(Example { prompt, completion })
    }

    fn missing(self, key: &'static str, object: &Map<String, Value>) -> LineProblem {
        LineProblem::MissingKey { key, format: self, found: object.keys().cloned().collect() }
    }
}

impl fmt::Display for DataFormat {
    /// The name used in configuration files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpaca => "alpaca",
            Self::PromptCompletion => "prompt-completion",
            Self::Text => "text",
        })
    }
}

/// The Alpaca prompt, up to where the answer begins:
/// `### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n`,
/// without its Input block when `input` is absent or empty.
pub fn alpaca_prompt(instruction: &str, input: Option<&str>) -> String {
    let input = match input {
        Some(input) if !input.is_empty() => format!("### Input:\n{input}\n\n"),
        _ => String::new(),
    };
    format!("### Instruction:\n{instruction}\n\n{input}### Response:\n")
}

/// The text under `key`. An explicit `null` counts as an absent key: exporters write it for
/// optional columns.
fn text<'a>(
    object: &'a Map<String, Value>,
    key: &'static str,
) -> Result<Option<&'a str>, LineProblem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(LineProblem::WrongType { key, found: kind(other) }),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_format_is_detected_and_read() {
        let cases = [
            (
                json!({"instruction": "Add.", "input": "1 2", "output": "3", "id": 7}),
                DataFormat::Alpaca,
                "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n",
                "3",
            ),
            (
                json!({"prompt": "1 + 2 =", "completion": " 3"}),
                DataFormat::PromptCompletion,
                "1 + 2 =",
                " 3",
            ),
            (json!({"text": "Once."}), DataFormat::Text, "", "Once."),
        ];
        for (value, format, prompt, completion) in cases {
            let object = object(value);
            assert_eq!(DataFormat::detect(&object), Some(format));
            let example = format.example(&object).unwrap();
            assert_eq!((&*example.prompt, &*example.completion), (prompt, completion));
        }
    }

    #[test]
    fn an_absent_null_or_empty_input_leaves_out_its_block() {
        for input in [json!({}), json!({"input": null}), json!({"input": ""})] {
            let mut object = object(input);
            object.insert("instruction".into(), "Count.".into());
            object.insert("output".into(), "1".into());
            let example = DataFormat::Alpaca.example(&object).unwrap();
            assert_eq!(example.prompt, "### Instruction:\nCount.\n\n### Response:\n");
        }
    }

    #[test]
    fn an_incomplete_set_of_keys_is_no_format() {
        let object = object(json!({"instruction": "Add.", "answer": "3"}));
        assert_eq!(DataFormat::detect(&object), None);
    }

    #[test]
    fn a_format_is_named_in_a_configuration_as_it_is_displayed() {
        for format in DataFormat::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
        }
    }
}
