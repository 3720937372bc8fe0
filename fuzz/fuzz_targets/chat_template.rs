//! A chat template, and what is said in the conversation.
#![no_main]

use burn_peft_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| readers::chat_template(input.0, input.1));
