//! Datasets of conversations.

use peft_llama::ChatMessage;
use serde_json::Value;

use super::object::{Object, kind};
use super::{Columns, Problem};

/// Reads `messages`, a list of objects with `role` and `content`.
pub(super) fn messages(object: &Object<'_>) -> Result<Vec<ChatMessage>, Problem> {
    conversation(object, "messages", |message| {
        Ok(ChatMessage::new(message.text("role")?, message.text("content")?))
    })
}

/// Reads `conversations`, a list of objects with `from` and `value`.
pub(super) fn sharegpt(object: &Object<'_>) -> Result<Vec<ChatMessage>, Problem> {
    conversation(object, "conversations", |message| {
        let role = match message.text("from")? {
            "human" => "user",
            "gpt" => ChatMessage::ASSISTANT,
            role => role,
        };
        Ok(ChatMessage::new(role, message.text("value")?))
    })
}

fn conversation(
    object: &Object<'_>,
    key: &'static str,
    message: impl Fn(&Object<'_>) -> Result<ChatMessage, Problem>,
) -> Result<Vec<ChatMessage>, Problem> {
    let name = object.name(key);
    let list = match object.value(key)? {
        Value::Array(list) => list,
        other => return Err(wrong_type(name.into(), "an array", other)),
    };
    let unrenamed = Columns::new();
    let read = |(index, value): (usize, &Value)| {
        let place = format!("{name}[{index}]");
        let Value::Object(inner) = value else {
            return Err(wrong_type(place, "an object", value));
        };
        message(&object.inner(inner, &unrenamed)).map_err(|problem| within(&place, problem))
    };
    let messages: Vec<ChatMessage> = list.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    match messages.iter().any(|message| message.is_answer() && !message.content.trim().is_empty()) {
        true => Ok(messages),
        false => Err(Problem::NoAnswer { key: name.into(), found: roles(&messages) }),
    }
}

fn wrong_type(key: String, expected: &'static str, found: &Value) -> Problem {
    Problem::WrongType { key, expected, found: kind(found) }
}

/// Says of which message the problem is.
fn within(place: &str, problem: Problem) -> Problem {
    match problem {
        Problem::MissingKey { key, format, found } => {
            Problem::MissingKey { key: format!("{place}.{key}"), format, found }
        }
        Problem::WrongType { key, expected, found } => {
            Problem::WrongType { key: format!("{place}.{key}"), expected, found }
        }
        other => other,
    }
}

fn roles(messages: &[ChatMessage]) -> String {
    let mut roles: Vec<&str> = messages.iter().map(|message| &*message.role).collect();
    roles.sort_unstable();
    roles.dedup();
    match &*roles {
        [] => "no message".into(),
        ["assistant", ..] => "only white space".into(),
        roles => format!("those of {}", roles.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::{DataFormat, Example};

    fn read(value: Value) -> Result<Vec<ChatMessage>, Problem> {
        let object = serde_json::from_value(value).unwrap();
        let format = DataFormat::detect(&object, &Columns::new()).unwrap();
        match format.example(&object, &Columns::new())? {
            Example::Chat(messages) => Ok(messages),
            other => panic!("{format}: {other:?}"),
        }
    }

    #[test]
    fn both_formats_say_the_same() {
        let messages = json!({"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi", "name": "Ann"},
            {"role": "assistant", "content": "Hello."},
        ]});
        let sharegpt = json!({"conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Hello.", "weight": null},
        ]});
        let want = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello.")]
            .map(|(role, content)| ChatMessage::new(role, content));
        assert_eq!(read(messages).unwrap(), want);
        assert_eq!(read(sharegpt).unwrap(), want);
    }

    #[test]
    fn problems_name_the_message() {
        let user = json!({"role": "user", "content": "Hi"});
        let cases = [
            (json!({"messages": "Hi"}), "key `messages`: expected an array, found a string"),
            (
                json!({"messages": [user, 1]}),
                "key `messages[1]`: expected an object, found a number",
            ),
            (
                json!({"messages": [{"role": "user"}]}),
                "missing key `messages[0].content` (format messages); found role",
            ),
            (
                json!({"messages": [{"role": "user", "content": []}]}),
                "key `messages[0].content`: expected a string, found an array",
            ),
            (
                json!({"conversations": [{"from": 1, "value": ""}]}),
                "key `conversations[0].from`: expected a string, found a number",
            ),
            (
                json!({"messages": []}),
                "key `messages`: expected a message of the assistant, found no message",
            ),
            (
                json!({"messages": [user]}),
                "key `messages`: expected a message of the assistant, found those of user",
            ),
            (
                json!({"messages": [user, {"role": "assistant", "content": " \n"}]}),
                "key `messages`: expected a message of the assistant, found only white space",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(read(value).unwrap_err().to_string(), expected);
        }
    }
}
