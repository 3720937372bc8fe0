//! How fast a dataset becomes batches: `cargo bench --bench data [-- FILE.jsonl [CHECKPOINT_DIR]]`.
//!
//! Prints tokens per second of tokenizing on one core and on all, of reading what an earlier run
//! tokenized, of packing, and of making batches.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use burn_peft::llama::{Checkpoint, Tokenizer};
use burn_peft::train::data::{
    BatchLoader, DataOptions, DatasetConfig, Hub, Sample, TokenizeOptions, pack, prepare,
    read_jsonl, tokenize,
};

const SEQUENCE_LEN: usize = 2048;
const ROWS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let file = arguments.next().unwrap_or_else(|| "assets/tasks/train.jsonl".into());
    let dir = arguments.next().unwrap_or_else(|| "assets/tiny-llama".into());
    let checkpoint = Checkpoint::open(&dir)?;
    let tokenizer = Tokenizer::from_dir(&dir, checkpoint.config())?;
    let examples = read_jsonl(PathBuf::from(&file).as_path(), None, false)?.examples;
    let options = TokenizeOptions { sequence_len: SEQUENCE_LEN, train_on_inputs: false };

    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    tokenize(&examples, &tokenizer, options)?; // fills the tokenizer's own cache of words
    let start = Instant::now();
    let samples = one_core.install(|| tokenize(&examples, &tokenizer, options))?.samples;
    report("tokenized on one core", &samples, start);
    let start = Instant::now();
    tokenize(&examples, &tokenizer, options)?;
    report(&format!("tokenized on {} cores", rayon::current_num_threads()), &samples, start);
    cached(&file, &tokenizer, &samples)?;

    let start = Instant::now();
    let rows = pack(samples.clone(), SEQUENCE_LEN, 0);
    report(&format!("packed into {} rows", rows.len()), &samples, start);
    let loader = BatchLoader::new(rows, ROWS, Device::default()).shuffled(0);
    let start = Instant::now();
    let batches = loader.iter().filter(Result::is_ok).count();
    report(&format!("put into {batches} batches"), &samples, start);
    Ok(())
}

/// Reading the files and what an earlier run made of them.
fn cached(file: &str, tokenizer: &Tokenizer, samples: &[Sample]) -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = DataOptions {
        sequence_len: SEQUENCE_LEN,
        train_on_inputs: false,
        sample_packing: false,
        val_set_size: 0.0,
        skip_bad_lines: false,
        seed: 0,
        dataset_prepared_path: Some(dir.path()),
    };
    for round in 0..2 {
        let start = Instant::now();
        prepare(&[DatasetConfig::new(file)], tokenizer, &Hub::from_env(), &options)?;
        if round > 0 {
            report("read from the cache", samples, start);
        }
    }
    Ok(())
}

fn report(what: &str, samples: &[Sample], start: Instant) {
    let tokens: usize = samples.iter().map(|sample| sample.input_ids.len()).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what:28} {tokens} tokens in {seconds:.3} s: {:.0} tokens/s",
        tokens as f64 / seconds
    );
}
