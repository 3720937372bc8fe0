//! Whatever a dataset or a template holds: an error or an example, never a panic.
//! `PROPTEST_CASES` sets how many inputs each test tries.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use peft_llama::{ChatMessage, ChatTemplate, Checkpoint, Tokenizer};
use peft_train::data::{Columns, DataFormat, ReadOptions, read_dataset};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

/// Keys and values that formats look for, so that reading gets further than the first look.
const WORDS: [&str; 14] = [
    "instruction",
    "input",
    "output",
    "prompt",
    "completion",
    "text",
    "messages",
    "role",
    "content",
    "conversations",
    "from",
    "value",
    "assistant",
    "gpt",
];

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

fn read(bytes: &[u8], suffix: &str, options: &ReadOptions) -> bool {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(bytes).unwrap();
    match read_dataset(&[file.path().into()], options) {
        Ok(dataset) => !dataset.examples.is_empty(),
        Err(error) => !error.to_string().is_empty(),
    }
}

fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![select(&WORDS[..]).prop_map(str::to_string), ".{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let object = btree_map(text.clone(), inner.clone(), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-llama");
        Tokenizer::from_dir(&dir, Checkpoint::open(&dir).unwrap().config()).unwrap()
    });
    &TOKENIZER
}

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
        prop_assert!(read(&bytes, ".jsonl", &options));
        prop_assert!(read(&bytes, ".json", &options));
        prop_assert!(read(&bytes, ".parquet", &options));
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
        let detected = DataFormat::detect(&object, &columns);
        for format in DataFormat::ALL {
            match format.example(&object, &columns) {
                Ok(example) => prop_assert!(!example.answer().is_empty() || format.is_chat()),
                Err(problem) => prop_assert!(!problem.to_string().is_empty()),
            }
        }
        let line = Value::Object(object).to_string();
        let ok = read(line.as_bytes(), ".jsonl", &ReadOptions { columns, ..Default::default() });
        prop_assert!(ok || detected.is_none());
    }

    #[test]
    fn templates(pieces in vec(select(&PIECES[..]), 0..16), content in ".{0,6}") {
        let messages = ["user", "assistant"].map(|role| ChatMessage::new(role, &*content));
        if let Ok(template) = ChatTemplate::new(&pieces.concat(), "fuzz.jinja") {
            let tokenizer = tokenizer().clone().with_chat_template(template);
            for messages in [&messages[..], &messages[..1], &[]] {
                match tokenizer.encode_chat(messages) {
                    Ok(chat) => prop_assert_eq!(chat.input_ids.len(), chat.assistant_mask.len()),
                    Err(error) => prop_assert!(error.to_string().starts_with("fuzz.jinja: ")),
                }
            }
        }
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
        prop_assert!(read(&file, ".parquet", &ReadOptions::default()));
    }
}
