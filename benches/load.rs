//! What loading a checkpoint costs beside reading its bytes:
//!
//! ```text
//! cargo bench --bench load
//! ```
//!
//! A LLaMA checkpoint of about 1 GB in bf16 is written into a temporary folder, which leaves it in
//! the page cache. It is then loaded onto the flex backend, in turn with a plain read of its file.

use std::error::Error;
use std::time::Instant;

use burn::tensor::DType;
use burn_peft::core::device_by_name;
use burn_peft::llama::{Checkpoint, DecoderConfig, save};

const CONFIG: &str = r#"{
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 8,
    "num_attention_heads": 16
}"#;
const PAIRS: usize = 7;
/// Most that loading may take, as a multiple of reading.
const MOST: f64 = 3.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(()); // `cargo test --benches` only builds
    }
    let (device, dir) = (device_by_name("flex")?, tempfile::tempdir()?);
    let config = DecoderConfig::parse(CONFIG, "the bench's configuration")?;
    save(&config.init(&device), &config, dir.path(), Some(DType::BF16))?;
    let file = dir.path().join("model.safetensors");
    let gigabytes = file.metadata()?.len() as f64 / 1e9;

    let mut pairs = Vec::new();
    for _ in 0..=PAIRS {
        let read = seconds(|| Ok(std::fs::read(&file)?))?;
        let load = seconds(|| Ok(Checkpoint::open(dir.path())?.load(&device, None, |_| ())?))?;
        pairs.push((read, load));
    }
    let pairs = &pairs[1..]; // the first one finds the memory of the process not yet mapped
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<_> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[PAIRS / 2]
    };
    let (read, load) = (median(|pair| pair.0), median(|pair| pair.1));
    let ratio = median(|(read, load)| load / read);
    println!("{gigabytes:.2} GB of bf16 from the page cache, medians of {PAIRS}");
    println!("reading {read:.3} s, {:.2} GB/s", gigabytes / read);
    println!("loading {load:.3} s, {:.2} GB/s", gigabytes / load);
    let verdict = if ratio <= MOST { "met" } else { "NOT MET" };
    println!("target {verdict}: loading takes {ratio:.2} x reading, at most {MOST:.2}");
    Ok(())
}

/// How long `work` takes, without dropping what it gives.
fn seconds<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let _kept = work()?;
    Ok(start.elapsed().as_secs_f64())
}
