//! The formats a dataset's objects may have.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::object::{Object, column};
use super::{Example, Problem, alpaca, chat};

/// The format of a dataset's objects. Keys beyond those named are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// `{"instruction", "input"?, "output", "system"?, "history"?}`, rendered by
    /// [`alpaca_prompt`](super::alpaca_prompt).
    Alpaca,
    /// `{"prompt", "completion"}`, used verbatim.
    PromptCompletion,
    /// `{"messages": [{"role", "content"}, …]}`, OpenAI's conversations.
    Messages,
    /// `{"conversations": [{"from", "value"}, …]}`, where `human` is the user and `gpt` the
    /// assistant.
    Sharegpt,
    /// `{"text"}`: a completion without a prompt.
    Text,
}

/// Names that a dataset's columns have, by the format's keys they stand for:
/// `{"instruction": "query"}` reads the instruction from the column `query`.
pub type Columns = BTreeMap<String, String>;

impl DataFormat {
    /// All formats, in the order in which they are tried on a dataset's first object.
    pub const ALL: [Self; 5] =
        [Self::Alpaca, Self::PromptCompletion, Self::Messages, Self::Sharegpt, Self::Text];

    /// The keys every object of the format has; the last one holds the answer.
    pub fn required_keys(self) -> &'static [&'static str] {
        match self {
            Self::Alpaca => &["instruction", "output"],
            Self::PromptCompletion => &["prompt", "completion"],
            Self::Messages => &["messages"],
            Self::Sharegpt => &["conversations"],
            Self::Text => &["text"],
        }
    }

    /// The keys that objects of the format may lack.
    pub fn optional_keys(self) -> &'static [&'static str] {
        match self {
            Self::Alpaca => &["input", "system", "history"],
            _ => &[],
        }
    }

    /// Whether examples are conversations, which need a chat template.
    pub fn is_chat(self) -> bool {
        matches!(self, Self::Messages | Self::Sharegpt)
    }

    /// The first format all of whose required keys are there.
    pub fn detect(object: &Map<String, Value>, columns: &Columns) -> Option<Self> {
        Self::ALL.into_iter().find(|format| {
            let mut keys = format.required_keys().iter();
            keys.all(|key| object.contains_key(column(columns, key)))
        })
    }

    /// Reads an object of this format.
    ///
    /// # Errors
    /// A [`Problem`] when a required key is missing, a value has another type, or there is no
    /// answer.
    pub fn example(
        self,
        object: &Map<String, Value>,
        columns: &Columns,
    ) -> Result<Example, Problem> {
        let object = Object::new(object, columns, self);
        match self {
            Self::Alpaca => alpaca::example(&object),
            Self::PromptCompletion => {
                Ok(Example::completion(object.text("prompt")?, object.answer("completion")?))
            }
            Self::Messages => chat::messages(&object).map(Example::Chat),
            Self::Sharegpt => chat::sharegpt(&object).map(Example::Chat),
            Self::Text => Ok(Example::completion("", object.answer("text")?)),
        }
    }
}

impl fmt::Display for DataFormat {
    /// The name used in configuration files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alpaca => "alpaca",
            Self::PromptCompletion => "prompt-completion",
            Self::Messages => "messages",
            Self::Sharegpt => "sharegpt",
            Self::Text => "text",
        })
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
                Example::completion(
                    "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n",
                    "3",
                ),
            ),
            (
                json!({"prompt": "1 + 2 =", "completion": " 3"}),
                DataFormat::PromptCompletion,
                Example::completion("1 + 2 =", " 3"),
            ),
            (json!({"text": "Once."}), DataFormat::Text, Example::completion("", "Once.")),
        ];
        for (value, format, example) in cases {
            let object = object(value);
            assert_eq!(DataFormat::detect(&object, &Columns::new()), Some(format));
            assert_eq!(format.example(&object, &Columns::new()).unwrap(), example);
        }
    }

    #[test]
    fn an_incomplete_set_of_keys_is_no_format() {
        let object = object(json!({"instruction": "Add.", "answer": "3"}));
        assert_eq!(DataFormat::detect(&object, &Columns::new()), None);
    }

    #[test]
    fn columns_may_have_other_names() {
        let object = object(json!({"query": "1 + 2", "response": "3"}));
        let columns = [("instruction", "query"), ("output", "response")];
        let columns = columns.map(|(key, column)| (key.to_string(), column.to_string())).into();
        assert_eq!(DataFormat::detect(&object, &columns), Some(DataFormat::Alpaca));
        let example = DataFormat::Alpaca.example(&object, &columns).unwrap();
        assert_eq!(example, Example::completion(alpaca::alpaca_prompt("1 + 2", None), "3"));
        let problem = DataFormat::Alpaca.example(&Map::new(), &columns).unwrap_err();
        assert!(problem.to_string().starts_with("missing key `query`"), "{problem}");
    }

    #[test]
    fn a_format_is_named_in_a_configuration_as_it_is_displayed() {
        for format in DataFormat::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.to_string());
        }
    }
}
