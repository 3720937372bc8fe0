//! What a training step costs, method by method, in time and in activations:
//!
//! ```text
//! cargo bench --bench step                 # both models, on the CPU
//! cargo bench --bench step -- decoder      # one of them
//! cargo bench --bench step --features cuda -- --device cuda --size 7b
//! ```
//!
//! Two models: a stack of linear layers and the LLaMA decoder. The floor, which nothing that trains
//! can go below, is a forward pass and a backward pass to the input with every weight frozen. Steps
//! of a method alternate with steps of the floor, and ratios are taken within such a pair, so that a
//! machine that changes its speed changes neither.

mod burn_lora;
mod contestants;
mod decoder;
mod harness;
mod methods;
mod report;
mod size;
mod stack;
mod workload;

use std::error::Error;

use burn_peft::core::device_by_name;
use clap::{Parser, ValueEnum};
use peak_alloc::PeakAlloc;

use size::Size;

/// Counts the bytes alive between a forward and a backward pass.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Measures training steps, method by method.
#[derive(Parser)]
struct Args {
    /// Models to measure; all, unless given.
    models: Vec<Model>,
    /// Device: flex, ndarray, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Size of the models.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    size: Size,
    /// Pairs of steps measured of every method, 20 or more.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(20..))]
    pairs: u16,
    /// What `cargo bench` passes; without it, nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Model {
    Stack,
    Decoder,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if !args.bench {
        return Ok(()); // `cargo test --benches` only builds
    }
    burn_peft::train::join_compute_threads();
    let device = device_by_name(&args.device)?.autodiff();
    let wanted = |model| args.models.is_empty() || args.models.contains(&model);
    report::heading(&device, args.size);
    if wanted(Model::Stack) {
        report::print(&stack::measure(&device, args.size, args.pairs.into())?);
    }
    if wanted(Model::Decoder) {
        report::print(&decoder::measure(&device, args.size, args.pairs.into())?);
    }
    Ok(())
}
