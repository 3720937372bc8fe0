//! Lines of a dataset.
#![no_main]

use burn_peft_fuzz::readers;
use libfuzzer_sys::fuzz_target;
use peft_train::data::ReadOptions;

fuzz_target!(|lines: &[u8]| readers::dataset(lines, ".jsonl", &ReadOptions::default()));
