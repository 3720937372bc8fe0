//! What a signal does to a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::Interrupter;

use crate::output::complain;
use crate::{dashboard, signals};

/// What the shell gets of a command that was interrupted.
pub const EXIT_CODE: u8 = 130;

/// Whether a run's training has ended, so that a signal stops no step.
#[derive(Clone, Default)]
pub struct Ended(Arc<AtomicBool>);

impl Ended {
    /// From now on the run only saves and measures.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// What the first signal comes to.
    fn consequence(&self) -> &'static str {
        match self.0.load(Ordering::SeqCst) {
            true => "training has ended, and what it made is being saved and measured",
            false => {
                "stopping after this step, with a checkpoint; a run with nothing left to do is completed"
            }
        }
    }
}

/// From now on the first signal stops the run after its present step, with a checkpoint, and the
/// second one ends the program at once.
pub fn handle(interrupter: Interrupter) -> Ended {
    let (ended, mut asked) = (Ended::default(), false);
    let told = ended.clone();
    let handler = move || {
        if std::mem::replace(&mut asked, true) {
            dashboard::leave();
            signals::exit(EXIT_CODE);
        }
        interrupter.stop(Some("interrupted")); // first: what follows may fail
        if !dashboard::is_shown() {
            complain(format_args!("{}; once more stops at once", told.consequence()));
        }
    };
    // Without a handler a signal ends the program, which a run survives: nothing to give up for.
    if let Err(error) = signals::handle(handler) {
        complain(format_args!("note: signals end the program at once: {error}"));
    }
    ended
}
