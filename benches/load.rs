//! What loading a checkpoint costs beside reading its bytes:
//!
//! ```text
//! cargo bench --bench load
//! ```
//!
//! A LLaMA checkpoint of about 1 GB in bf16 is written into a temporary folder, which leaves it in
//! the page cache. It is then loaded onto the flex backend, as it is and converted to f32, each in turn
//! with a plain read of its file.

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

    println!("{gigabytes:.2} GB of bf16 from the page cache, medians of {PAIRS}");
    for (dtype, most) in [(DType::BF16, Some(MOST)), (DType::F32, None)] {
        let load = || Ok(Checkpoint::open(dir.path())?.load(&device, Some(dtype), |_| ())?);
        let mut pairs = Vec::new();
        for _ in 0..=PAIRS {
            pairs.push((seconds(|| Ok(std::fs::read(&file)?))?, seconds(load)?));
        }
        print(dtype, gigabytes, most, &pairs[1..]); // the first finds memory that is not mapped yet
    }
    Ok(())
}

/// Medians of seconds for reading and for loading.
fn print(dtype: DType, gigabytes: f64, most: Option<f64>, pairs: &[(f64, f64)]) {
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<_> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[PAIRS / 2]
    };
    let (read, load) = (median(|pair| pair.0), median(|pair| pair.1));
    let ratio = median(|(read, load)| load / read);
    println!("reading {read:.3} s, {:.2} GB/s", gigabytes / read);
    println!("loading as {dtype:?} {load:.3} s, {:.2} GB/s", gigabytes / load);
    match most {
        Some(most) => {
            let verdict = if ratio <= most { "met" } else { "NOT MET" };
            println!("target {verdict}: loading takes {ratio:.2} x reading, at most {most:.2}");
        }
        None => println!("loading takes {ratio:.2} x reading, and fills twice the bytes"),
    }
}

/// How long `work` takes, without dropping what it gives.
fn seconds<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let _kept = work()?;
    Ok(start.elapsed().as_secs_f64())
}
