//! An adapter in PEFT's format.
#![no_main]

use burn_peft_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    readers::adapter(input.0, input.1);
});
