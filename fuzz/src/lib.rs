//! What the targets call: the same functions that the test suite tries on stable Rust with inputs
//! made up by proptest.

#[path = "../../crates/peft-train/tests/fuzz/readers.rs"]
pub mod readers;
