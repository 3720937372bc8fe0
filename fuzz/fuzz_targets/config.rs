//! A configuration file and settings of the command line.
#![no_main]

use burn_peft_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Vec<String>)| readers::config(input.0, &input.1));
