//! From configured datasets to samples.

use std::path::{Path, PathBuf};

use peft_llama::{ChatTemplate, Checkpoint, Tokenizer};
use peft_train::Error;
use peft_train::data::{
    DataFormat, DataOptions, DatasetConfig, Hub, Prepared, PreparedDataset, prepare,
};
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tokenizer() -> Tokenizer {
    let dir = root().join("assets/tiny-llama");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    Tokenizer::from_dir(dir, checkpoint.config()).unwrap()
}

fn chat_tokenizer() -> Tokenizer {
    let path = root().join("tests/cases/chat_templates/llama2.jinja");
    tokenizer().with_chat_template(ChatTemplate::from_file(path).unwrap())
}

fn options() -> DataOptions<'static> {
    DataOptions {
        sequence_len: 64,
        train_on_inputs: false,
        sample_packing: false,
        val_set_size: 0.0,
        skip_bad_lines: false,
        seed: 7,
        dataset_prepared_path: None,
    }
}

/// A folder with ten examples of plain text, a conversation, and a file with other columns.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    let lines: String = (0..10).map(|n| format!("{{\"text\": \"number {n}\"}}\n")).collect();
    let chat = r#"[{"conversations": [
        {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."},
        {"from": "human", "value": "Bye"}, {"from": "gpt", "value": "See you."}]}]"#;
    let maths = r#"{"query": "1 + 1", "response": "2"}"#;
    for (name, content) in [("text.jsonl", &*lines), ("chat.json", chat), ("maths.json", maths)] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn dataset(dir: &TempDir, name: &str) -> DatasetConfig {
    DatasetConfig::new(dir.path().join(name).to_str().unwrap())
}

/// The datasets of [`folder`].
fn datasets(dir: &TempDir) -> Vec<DatasetConfig> {
    let columns = [("instruction", "query"), ("output", "response")];
    let columns = columns.map(|(key, column)| (key.to_string(), column.to_string())).into();
    vec![
        DatasetConfig { weight: 0.5, ..dataset(dir, "text.jsonl") },
        DatasetConfig { weight: 3.0, ..dataset(dir, "chat.json") },
        DatasetConfig { columns, ..dataset(dir, "maths.json") },
    ]
}

fn prepared(datasets: &[DatasetConfig], options: &DataOptions<'_>) -> Result<Prepared, Error> {
    prepare(datasets, &chat_tokenizer(), &Hub::offline("/nowhere"), options)
}

fn texts(samples: &Prepared) -> Vec<String> {
    let tokenizer = tokenizer();
    samples.train.iter().map(|sample| tokenizer.decode(&sample.input_ids).unwrap()).collect()
}

#[test]
fn datasets_of_several_formats_are_mixed_by_weight() {
    let dir = folder();
    let got = prepared(&datasets(&dir), &options()).unwrap();
    let formats: Vec<_> = got.datasets.iter().map(|dataset| dataset.format).collect();
    assert_eq!(formats, [DataFormat::Text, DataFormat::Sharegpt, DataFormat::Alpaca]);
    let texts = texts(&got);
    assert_eq!(texts.iter().filter(|text| text.starts_with("number")).count(), 5);
    let chat = |text: &&String| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ") == "[INST] Hi [/INST] Hello. [INST] Bye [/INST] See you."
    };
    assert_eq!(texts.iter().filter(chat).count(), 3, "{texts:?}");
    assert!(texts.last().unwrap().ends_with("### Response:\n 2"), "{texts:?}");
    assert_eq!(got.train.len(), 5 + 3 + 1);
}

#[test]
fn validation_samples_are_held_back_before_weights_apply() {
    let dir = folder();
    let got = prepared(&datasets(&dir), &DataOptions { val_set_size: 0.25, ..options() }).unwrap();
    assert_eq!(got.valid.len(), 3);
    assert!(got.valid.iter().all(|sample| !got.train.contains(sample)));
}

#[test]
fn packed_rows_hold_the_same_documents() {
    let dir = folder();
    let plain = prepared(&datasets(&dir), &options()).unwrap().train;
    let packing = DataOptions { sample_packing: true, ..options() };
    let rows = prepared(&datasets(&dir), &packing).unwrap().train;
    assert!(rows.len() < plain.len());
    assert!(rows.iter().all(|row| row.input_ids.len() <= 64));
    let documents: usize = rows.iter().map(|row| 1 + row.document_starts.len()).sum();
    assert_eq!(documents, plain.len());
}

#[test]
fn a_tokenized_dataset_is_used_again_until_something_changes() {
    let (dir, cache) = (folder(), TempDir::new().unwrap());
    let options =
        DataOptions { dataset_prepared_path: Some(&*cache.path().join("prepared")), ..options() };
    let cached = |prepared: &Prepared| -> Vec<bool> {
        prepared.datasets.iter().map(|dataset| dataset.cached).collect()
    };
    let first = prepared(&datasets(&dir), &options).unwrap();
    let second = prepared(&datasets(&dir), &options).unwrap();
    assert_eq!((cached(&first), cached(&second)), (vec![false; 3], vec![true; 3]));
    assert_eq!((&first.train, &first.valid), (&second.train, &second.valid));
    let as_first = |dataset: &PreparedDataset| PreparedDataset { cached: false, ..dataset.clone() };
    assert!(second.datasets.iter().map(as_first).eq(first.datasets));

    let shorter = DataOptions { sequence_len: 32, ..options.clone() };
    assert_eq!(cached(&prepared(&datasets(&dir), &shorter).unwrap()), [false; 3]);
    std::fs::write(dir.path().join("text.jsonl"), "{\"text\": \"other\"}").unwrap();
    let third = prepared(&datasets(&dir), &options).unwrap();
    assert_eq!(cached(&third), [false, true, true]);
    assert_eq!(third.datasets[0].samples, 1);
}

#[test]
fn a_damaged_cache_is_rebuilt() {
    let (dir, cache) = (folder(), TempDir::new().unwrap());
    let options = DataOptions { dataset_prepared_path: Some(cache.path()), ..options() };
    let want = prepared(&datasets(&dir), &options).unwrap().train;
    for entry in std::fs::read_dir(&cache).unwrap() {
        std::fs::write(entry.unwrap().path(), "nothing of the kind").unwrap();
    }
    let rebuilt = prepared(&datasets(&dir), &options).unwrap();
    assert!(rebuilt.datasets.iter().all(|dataset| !dataset.cached));
    assert_eq!(rebuilt.train, want);
    assert!(prepared(&datasets(&dir), &options).unwrap().datasets[0].cached);
}

#[test]
fn a_dataset_of_the_hub_comes_from_its_cache() {
    let cache = TempDir::new().unwrap();
    let repo = cache.path().join("datasets--org--texts");
    let snapshot = repo.join("snapshots/0a1b2c");
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::create_dir_all(snapshot.join("data")).unwrap();
    std::fs::write(repo.join("refs/main"), "0a1b2c").unwrap();
    std::fs::write(snapshot.join("data/train.jsonl"), "{\"text\": \"a\"}").unwrap();
    let hub = Hub::offline(cache.path());
    let got = prepare(&[DatasetConfig::new("org/texts")], &tokenizer(), &hub, &options()).unwrap();
    assert_eq!(got.datasets[0].files, [snapshot.join("data/train.jsonl")]);
    assert_eq!(texts(&got), ["a"]);
    let folder = DatasetConfig::new(snapshot.to_str().unwrap());
    assert_eq!(prepare(&[folder], &tokenizer(), &hub, &options()).unwrap().train, got.train);
}

#[test]
fn errors_say_which_dataset_and_what_to_do() {
    let dir = folder();
    let cases = [
        (DatasetConfig::new("nowhere.jsonl"), "cannot read `nowhere.jsonl`", "path"),
        (DatasetConfig::new("org/none"), "dataset `org/none` (revision main) is not", ""),
        (
            dataset(&dir, "chat.json"),
            "chat.json, row 1: cannot tokenize the conversation: a conversation needs",
            "`chat_template`",
        ),
        (DatasetConfig { split: "test".into(), ..dataset(&dir, "") }, "no data file", "`split`"),
    ];
    let hub = Hub::offline("/nowhere");
    for (config, expected, hint) in cases {
        let error = prepare(&[config], &tokenizer(), &hub, &options()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
    let weightless = DatasetConfig { weight: 0.0, ..dataset(&dir, "text.jsonl") };
    let error = prepare(&[weightless], &tokenizer(), &hub, &options()).unwrap_err();
    assert!(error.to_string().contains("`weight` is 0"), "{error}");
}

/// LLaMA-2's template raises an exception where the user does not begin.
#[test]
fn a_conversation_that_the_template_refuses_is_named_or_left_out() {
    let dir = folder();
    let chat = |roles: [&str; 2]| {
        let messages = roles.map(|role| serde_json::json!({ "role": role, "content": "Hi" }));
        serde_json::json!({ "messages": messages }).to_string()
    };
    let (good, bad) = (chat(["user", "assistant"]), chat(["assistant", "user"]));
    std::fs::write(dir.path().join("chats.jsonl"), [&*good, "{", &bad, &good].join("\n")).unwrap();
    let config = [dataset(&dir, "chats.jsonl")];
    let skipping = DataOptions { skip_bad_lines: true, ..options() };
    let got = prepared(&config, &skipping).unwrap();
    assert_eq!((got.train.len(), got.datasets[0].skipped, got.datasets[0].dropped), (2, 2, 0));

    std::fs::write(dir.path().join("chats.jsonl"), [&*good, "", &bad].join("\n")).unwrap();
    let error = prepared(&config, &options()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("chats.jsonl:3: cannot tokenize the conversation: "), "{message}");
    assert!(error.hint().unwrap().contains("`skip_bad_lines`"));

    std::fs::write(dir.path().join("chats.jsonl"), &bad).unwrap();
    let error = prepared(&config, &skipping).unwrap_err().to_string();
    assert!(error.ends_with("holds no example (1 left out as malformed)"), "{error}");
    let unset = prepare(&config, &tokenizer(), &Hub::offline("/nowhere"), &skipping).unwrap_err();
    assert!(unset.to_string().contains("chats.jsonl:1: "), "no template is no bad line: {unset}");
}
