//! LoSiA's adapter.
#![no_main]

use burn_peft_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    readers::losia_blocks(bytes);
});
