//! What reads files, given any content: it must give an error that names the file, or a value that
//! keeps its promises. The targets of cargo-fuzz in `fuzz/` are these functions, too.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use peft_core::device_by_name;
use peft_llama::{ChatMessage, ChatTemplate, Checkpoint, Tokenizer};
use peft_train::config::TypedConfig;
use peft_train::data::{ReadOptions, read_dataset};
use peft_train::inspect::{InspectOptions, inspect};
use peft_train::run::{CheckpointManifest, latest_checkpoint};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|dir| dir.join("tests/cases").is_dir());
    root.expect("this package is in the repository").join(path)
}

/// A configuration file, and settings of the command line. What is accepted can be written, and is
/// then the same.
pub fn config(toml: &str, settings: &[String]) {
    match TypedConfig::parse(toml, "run.toml", settings) {
        Ok(typed) => {
            let written = typed.config.to_toml().expect("paths that came as text are text");
            let again = TypedConfig::parse(&written, "config.toml", &[]).expect("it was accepted");
            assert_eq!(again.config, typed.config);
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("run.toml") || error.contains("command line"), "{error}");
        }
    }
}

/// A dataset in a file with that suffix.
pub fn dataset(bytes: &[u8], suffix: &str, options: &ReadOptions) {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(bytes).unwrap();
    match read_dataset(&[file.path().into()], options) {
        Ok(dataset) => assert!(!dataset.examples.is_empty()),
        Err(error) => assert_names(&error, file.path()),
    }
}

/// A chat template, on conversations of two, one and no messages.
pub fn chat_template(source: &str, content: &str) {
    let messages = ["user", "assistant"].map(|role| ChatMessage::new(role, content));
    let Ok(template) = ChatTemplate::new(source, "fuzz.jinja") else { return };
    let tokenizer = tokenizer().clone().with_chat_template(template);
    for messages in [&messages[..], &messages[..1], &[]] {
        match tokenizer.encode_chat(messages) {
            Ok(chat) => assert_eq!(chat.input_ids.len(), chat.assistant_mask.len()),
            Err(error) => assert_names(&error, Path::new("fuzz.jinja")),
        }
    }
}

/// `model.safetensors.index.json` beside one shard, `1.safetensors`. Whether all is in order, as
/// everywhere below.
pub fn checkpoint_index(index: &[u8], shard: &[u8]) -> bool {
    let config = fs::read(repository("tests/cases/llama_tiny/config.json")).unwrap();
    model(&[
        ("config.json", &config),
        ("model.safetensors.index.json", index),
        ("1.safetensors", shard),
    ])
}

/// A model's `config.json` and `model.safetensors`.
pub fn checkpoint(config: &[u8], weights: &[u8]) -> bool {
    model(&[("config.json", config), ("model.safetensors", weights)])
}

/// Files of a model, all of which are read, but for the tokenizer's.
fn model(files: &[(&str, &[u8])]) -> bool {
    let dir = folder(files);
    let device = device_by_name("auto").unwrap();
    let read = Checkpoint::open(&dir).and_then(|checkpoint| {
        checkpoint.check(&device)?;
        checkpoint.verify(|_| ())
    });
    if let Err(error) = &read {
        assert_names(error, dir.path());
    }
    read.is_ok()
}

/// `adapter_config.json` and `adapter_model.safetensors` of an adapter in PEFT's format.
pub fn adapter(config: &[u8], weights: &[u8]) -> bool {
    inspected(&[("adapter_config.json", config), ("adapter_model.safetensors", weights)])
}

/// `losia_blocks.safetensors`, LoSiA's adapter.
pub fn losia_blocks(bytes: &[u8]) -> bool {
    inspected(&[("losia_blocks.safetensors", bytes)])
}

/// The files of a run's checkpoint, which is the newest whole one exactly if it is in order.
pub fn run_checkpoint(files: &[(&str, &[u8])]) -> bool {
    let output_dir = tempfile::tempdir().unwrap();
    let checkpoint = output_dir.path().join("checkpoint-7");
    fs::create_dir(&checkpoint).unwrap();
    write(&checkpoint, files);
    let manifest = CheckpointManifest::read(&checkpoint);
    let whole = manifest.and_then(|manifest| manifest.verify(&checkpoint));
    if let Err(error) = &whole {
        assert_names(error, &checkpoint);
    }
    let latest = latest_checkpoint(output_dir.path()).unwrap();
    assert_eq!(latest.path, whole.is_ok().then(|| checkpoint.clone()));
    whole.is_ok()
}

/// A manifest whose own checksum is right, whatever it says.
pub fn manifest(json: &[u8]) -> bool {
    run_checkpoint(&[("manifest.json", json), ("manifest.sha256", checksum(json).as_bytes())])
}

/// The line that `sha256sum` writes for a manifest.
pub fn checksum(manifest: &[u8]) -> String {
    format!("{}  manifest.json\n", sha256(manifest))
}

/// Two digits per byte.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files of an adapter, inspected alone and then against a base model.
fn inspected(files: &[(&str, &[u8])]) -> bool {
    let dir = folder(files);
    let base = repository("tests/cases/llama_tiny");
    let device = device_by_name("auto").unwrap();
    let read = |base| {
        inspect(dir.path(), InspectOptions { base, config: None, device: &device }, &mut |_, _| ())
    };
    let fits = read(None).and_then(|_| read(Some(&*base)));
    if let Err(error) = &fits {
        assert_names(error, dir.path());
    }
    fits.is_ok()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    dir
}

fn write(dir: &Path, files: &[(&str, &[u8])]) {
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
}

fn assert_names(error: &impl std::error::Error, path: &Path) {
    let (error, path) = (error.to_string(), path.display().to_string());
    assert!(error.contains(&path), "{path} is not named: {error}");
}

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let dir = repository("assets/tiny-llama");
        Tokenizer::from_dir(&dir, Checkpoint::open(&dir).unwrap().config()).unwrap()
    });
    &TOKENIZER
}
