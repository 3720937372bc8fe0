//! The signals that ask a program to end.

use std::io;

/// Calls `handler`, on a thread of its own, for each Ctrl-C, SIGTERM and SIGHUP to come. A signal that
/// the program was started to ignore, as `nohup` does with SIGHUP, stays ignored on Linux.
///
/// # Errors
/// What the system refuses: signals then end the program.
#[cfg(unix)]
pub fn handle(mut handler: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignores(&status, *signal));
    let mut signals = Signals::new(heard)?;
    let listen = move || signals.forever().for_each(|_| handler());
    std::thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}

/// Whether a process ignores the signal, by its `/proc/PID/status`.
#[cfg(unix)]
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// Calls `handler`, on a thread of its own, for each Ctrl-C to come.
///
/// # Errors
/// What the system refuses: Ctrl-C then ends the program.
#[cfg(not(unix))]
pub fn handle(handler: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(handler).map_err(io::Error::other)
}

/// Ends the program now, whatever its other threads are at.
pub fn exit(code: u8) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code.into());
    #[cfg(not(unix))]
    std::process::exit(code.into());
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    #[test]
    fn ignored_signals_are_bits_of_a_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        assert_eq!([SIGHUP, SIGINT, SIGTERM].map(|s| ignores(status, s)), [true, false, false]);
        assert!(!ignores("", SIGHUP) && !ignores("SigIgn:\tx\n", SIGHUP));
    }
}
