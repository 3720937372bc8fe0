//! What a training step costs, method by method, in time and in activations:
//!
//! ```text
//! cargo bench               # both models
//! cargo bench -- decoder    # one of them
//! ```
//!
//! Two models on the flex backend, in f32 and on all threads: a stack of linear layers and the
//! LLaMA decoder. The floor, which nothing that trains can go below, is a forward pass and a
//! backward pass to the input with every weight frozen. Steps of a method alternate with steps of
//! the floor, and ratios are taken within such a pair, so that a machine that changes its speed
//! changes neither.

mod decoder;
mod harness;
mod methods;
mod report;
mod stack;

use std::error::Error;

use burn_peft::core::device_by_name;
use peak_alloc::PeakAlloc;

/// Counts the bytes alive between a forward and a backward pass.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, names): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    if !flags.iter().any(|flag| flag == "--bench") {
        return Ok(()); // `cargo test --benches` only builds
    }
    let device = device_by_name("flex")?.autodiff();
    let wanted = |model: &str| names.is_empty() || names.iter().any(|name| name == model);
    report::heading(&device);
    if wanted("stack") {
        report::print(&stack::measure(&device)?);
    }
    if wanted("decoder") {
        report::print(&decoder::measure(&device)?);
    }
    Ok(())
}
