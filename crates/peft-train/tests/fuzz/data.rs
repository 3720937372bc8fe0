//! Datasets and chat templates.

use std::sync::{Arc, LazyLock};

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use peft_train::data::{ChatMessage, Columns, DataFormat, Example, ReadOptions};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

use crate::inputs::{WORDS, json};
use crate::readers::{chat_template, dataset};

/// Pieces of templates and what they may stumble over.
const PIECES: [&str; 40] = [
    "{%",
    "%}",
    "{{",
    "}}",
    "{#",
    "#}",
    "{%-",
    "-%}",
    " for m in messages ",
    " endfor ",
    " if ",
    " else ",
    " endif ",
    " set x = ",
    " macro f(a) ",
    " endmacro ",
    " generation ",
    " endgeneration ",
    "messages",
    "m.content",
    "m['role']",
    "[0]",
    "[-1:]",
    "(",
    ")",
    " | trim",
    " | tojson(indent=2)",
    " + ",
    " ~ ",
    " == ",
    "'a'",
    "9",
    "none",
    "x.split('')",
    "x.items()",
    "loop.index0 % 2",
    "raise_exception('no')",
    "strftime_now('%Y %')",
    "range(5)",
    "\n  é",
];

/// A small file of two text columns.
fn parquet() -> &'static [u8] {
    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let schema =
            "message s { required binary prompt (UTF8); optional binary completion (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for levels in [None, Some(&[1i16; 3][..])] {
            let mut column = group.next_column().unwrap().unwrap();
            let words = ["one", "two", "three"].map(ByteArray::from);
            column.typed::<ByteArrayType>().write_batch(&words, levels, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    });
    &FILE
}

proptest! {
    #[test]
    fn bytes_as_lines(bytes in vec(any::<u8>(), 0..80), skip_bad_lines: bool) {
        let options = ReadOptions { skip_bad_lines, ..Default::default() };
        for suffix in [".jsonl", ".json", ".csv", ".parquet"] {
            dataset(&bytes, suffix, &options);
        }
    }

    #[test]
    fn objects_in_every_format(
        entries in btree_map(select(&WORDS[..]), json(), 0..6),
        columns in btree_map(select(&WORDS[..]), select(&WORDS[..]), 0..3),
    ) {
        let object: Map<String, Value> =
            entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        let name = |(key, column): (&str, &str)| (key.to_string(), column.to_string());
        let columns: Columns = columns.into_iter().map(name).collect();
        for format in DataFormat::ALL {
            match format.example(&object, &columns) {
                Ok(Example::Completion { completion, .. }) => prop_assert!(!completion.is_empty()),
                Ok(Example::Chat(messages)) => prop_assert!(messages.iter().any(ChatMessage::is_answer)),
                Err(problem) => prop_assert!(!problem.to_string().is_empty()),
            }
        }
        let line = Value::Object(object).to_string();
        dataset(line.as_bytes(), ".jsonl", &ReadOptions { columns, ..Default::default() });
    }

    #[test]
    fn templates(pieces in vec(select(&PIECES[..]), 0..16), content in ".{0,6}") {
        chat_template(&pieces.concat(), &content);
    }

    #[test]
    fn damaged_parquet(at in any::<prop::sample::Index>(), bytes in vec(any::<u8>(), 1..4), cut: bool) {
        let mut file = parquet().to_vec();
        let at = at.index(file.len());
        let end = (at + bytes.len()).min(file.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        if cut {
            file.drain(at..end);
        }
        dataset(&file, ".parquet", &ReadOptions::default());
    }
}
