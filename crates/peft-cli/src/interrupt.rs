//! Ctrl-C, and the signals by which batch systems end a job.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::Interrupter;

/// What the shell gets of a command that was interrupted.
pub const EXIT_CODE: u8 = 130;

/// From now on the first signal stops the run after its present step, with a checkpoint, and the
/// second one ends the program at once.
pub fn handle(interrupter: Interrupter) {
    let asked = AtomicBool::new(false);
    let handler = move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("stopping after this step, with a checkpoint; once more stops at once");
        interrupter.stop(Some("interrupted"));
    };
    // Without a handler a signal ends the program, which a run survives: nothing to give up for.
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("note: signals end the program at once: {error}");
    }
}
