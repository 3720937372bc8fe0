//! Whatever a file holds that people hand over: an error that names it, or a value, never a panic.
//! `PROPTEST_CASES` sets how many inputs each test tries.

mod config;
mod data;
mod files;
mod inputs;
mod readers;
