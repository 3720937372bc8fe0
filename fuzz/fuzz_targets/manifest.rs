//! The manifest of a run's checkpoint.
#![no_main]

use burn_peft_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    readers::manifest(json);
});
