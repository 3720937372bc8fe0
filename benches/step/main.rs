//! What a training step costs, method by method, in time and in activations:
//!
//! ```text
//! cargo bench
//! ```
//!
//! Two models on the flex backend, in f32 and on all threads: a stack of linear layers and the
//! LLaMA decoder. The floor, which nothing that trains can go below, is a forward pass and a
//! backward pass to the input with every weight frozen. Steps of a method alternate with steps of
//! the floor, and ratios are taken within such a pair, so that a machine that changes its speed
//! changes neither.

mod decoder;
mod harness;
mod low_rank;
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
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(()); // `cargo test --benches` only builds
    }
    let device = device_by_name("flex")?.autodiff();
    report::heading(&device);
    report::print(&stack::measure(&device)?);
    report::print(&decoder::measure(&device)?);
    Ok(())
}
