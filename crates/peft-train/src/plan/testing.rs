//! What the tests of plans share: the small model of the repository.

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use peft_core::Catalogue;
use peft_llama::{CausalLm, Checkpoint, Tokenizer};
use peft_testing::device;

use crate::data::{Sample, TokenizeOptions, read_jsonl, tokenize};

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tiny() -> Checkpoint {
    Checkpoint::open(repository().join("assets/tiny-llama")).unwrap()
}

/// The parameters of the small model, and its hidden, intermediate and vocabulary size.
pub fn tiny_catalogue() -> (Catalogue, [usize; 3]) {
    let checkpoint = tiny();
    let config = checkpoint.config();
    let sizes = [config.hidden_size, config.intermediate_size, config.vocab_size];
    (config.catalogue(&device().autodiff()), sizes)
}

/// In f32, on every device.
pub fn tiny_model() -> (CausalLm, Tokenizer) {
    let checkpoint = tiny();
    let tokenizer = Tokenizer::from_dir(checkpoint.dir(), checkpoint.config()).unwrap();
    (checkpoint.load(&device(), Some(DType::F32), |_| ()).unwrap().0, tokenizer)
}

/// Items of tasks that the small model knows.
pub fn tiny_samples(tokenizer: &Tokenizer, count: usize) -> Vec<Sample> {
    let known = read_jsonl(&repository().join("assets/tasks/known.jsonl"), None, false).unwrap();
    let options = TokenizeOptions { sequence_len: 256, train_on_inputs: false };
    tokenize(&known.examples[..count], tokenizer, options).unwrap().samples
}
