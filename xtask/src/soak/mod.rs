//! A soak: for minutes, training runs are killed, their checkpoints damaged and their disk filled
//! at random moments. Each must lose no more steps than lie between two checkpoints and end with
//! the bits of a run that was left alone.

mod compare;
mod damage;
mod disk;
mod disturbed;
mod event;
mod process;
mod table;
mod task;

use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::conform::CaseError;
use disturbed::Disturbed;
use event::Kind;
use table::Table;
use task::{METHODS, Task};

/// Longest life of a process that is disturbed, as a share of the time an undisturbed run takes.
const LONGEST: f64 = 0.25;

/// Disturbs runs of the program `command`, one after the other, until `minutes` are over; the last
/// one is finished. Prints a table of what happened and what it cost. Whether nothing was lost that
/// should not be.
pub fn run(command: &Path, minutes: u64, seed: u64) -> Result<bool, CaseError> {
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut table = Table::default();
    table.header();
    for (round, (method, settings)) in (1..).zip(METHODS.iter().cycle()) {
        let work = tempfile::tempdir()?;
        let task = Task::new(command, work.path(), settings, seed.wrapping_add(round))?;
        table.round(round, method);
        if let Err(problem) = soak(&task, &mut rng, &mut table) {
            table.problem(&problem.to_string());
        }
        if Instant::now() >= end || table.problems() > 0 {
            break;
        }
    }
    table.totals();
    Ok(table.problems() == 0)
}

/// One run left alone, and the same run disturbed until it is done.
fn soak(task: &Task<'_>, rng: &mut ChaCha8Rng, table: &mut Table) -> Result<(), CaseError> {
    let begin = Instant::now();
    let reference = task.undisturbed()?;
    let time = begin.elapsed();
    let mut run = Disturbed::new(task)?;
    loop {
        let moment = time.mul_f64(rng.random_range(0.0..LONGEST));
        match run.disturb(draw(rng), moment, rng)? {
            Some(event) => table.event(&event),
            None => break,
        }
    }
    let problem = compare::difference(&reference, run.output_dir())?;
    table.finished(problem.as_deref());
    Ok(())
}

/// Every other event is a kill.
fn draw(rng: &mut ChaCha8Rng) -> Kind {
    match rng.random_range(0..4) {
        0 => Kind::Damaged,
        1 => Kind::Full,
        _ => Kind::Killed,
    }
}
