//! Datasets of instructions.

use serde_json::Value;

use super::object::{Object, kind};
use super::{Example, Problem};

/// Reads an instruction and its answer. What `system` says goes before all, then earlier turns by
/// `history`, a list of instructions and their answers; of these only `output` is learnt.
pub(super) fn example(object: &Object<'_>) -> Result<Example, Problem> {
    let mut prompt = match object.optional_text("system")? {
        Some(system) if !system.is_empty() => format!("{system}\n\n"),
        _ => String::new(),
    };
    for [instruction, output] in history(object)? {
        prompt += &format!("{}{output}\n\n", alpaca_prompt(instruction, None));
    }
    prompt += &alpaca_prompt(object.text("instruction")?, object.optional_text("input")?);
    Ok(Example::completion(prompt, object.answer("output")?))
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

fn history<'a>(object: &Object<'a>) -> Result<Vec<[&'a str; 2]>, Problem> {
    const KEY: &str = "history";
    let name = object.name(KEY);
    let wrong =
        |key: String, expected, found| Problem::WrongType { key, expected, found: kind(found) };
    let list = match object.optional(KEY) {
        None => return Ok(Vec::new()),
        Some(Value::String(empty)) if empty.is_empty() => return Ok(Vec::new()), // a cell of CSV
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong(name.into(), "an array", other)),
    };
    let turn = |(index, turn): (usize, &'a Value)| {
        let texts = turn.as_array().and_then(|turn| match &turn[..] {
            [instruction, output] => Some([instruction.as_str()?, output.as_str()?]),
            _ => None,
        });
        let pair = "an array of an instruction and its answer";
        texts.ok_or_else(|| wrong(format!("{name}[{index}]"), pair, turn))
    };
    list.iter().enumerate().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::data::{Columns, DataFormat};

    fn read(more: Value) -> Result<Example, Problem> {
        let mut object: Map<_, _> = serde_json::from_value(more).unwrap();
        object.insert("instruction".into(), "Count on.".into());
        object.insert("output".into(), "3".into());
        DataFormat::Alpaca.example(&object, &Columns::new())
    }

    const PROMPT: &str = "### Instruction:\nCount on.\n\n### Response:\n";

    #[test]
    fn what_is_absent_null_or_empty_is_left_out() {
        for more in [
            json!({}),
            json!({ "input": null, "system": null, "history": null }),
            json!({ "input": "", "system": "", "history": [] }),
            json!({ "input": "", "system": "", "history": "" }),
        ] {
            assert_eq!(read(more).unwrap(), Example::completion(PROMPT, "3"));
        }
    }

    #[test]
    fn the_system_and_earlier_turns_stand_before_the_instruction() {
        let more = json!({ "system": "You count.", "history": [["Begin.", "1"], ["Go on.", "2"]] });
        let prompt = format!(
            "You count.\n\n### Instruction:\nBegin.\n\n### Response:\n1\n\n\
             ### Instruction:\nGo on.\n\n### Response:\n2\n\n{PROMPT}"
        );
        assert_eq!(read(more).unwrap(), Example::completion(prompt, "3"));
    }

    #[test]
    fn a_malformed_history_is_named() {
        let pair = "expected an array of an instruction and its answer, found";
        for (history, message) in [
            (json!("x"), "key `history`: expected an array, found a string".to_string()),
            (json!([["a", "b"], ["c"]]), format!("key `history[1]`: {pair} an array")),
            (json!([["a", 2]]), format!("key `history[0]`: {pair} an array")),
            (json!([{ "a": "b" }]), format!("key `history[0]`: {pair} an object")),
        ] {
            assert_eq!(read(json!({ "history": history })).unwrap_err().to_string(), message);
        }
    }
}
