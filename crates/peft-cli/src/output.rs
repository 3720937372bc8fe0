//! Standard output and standard error, which may have gone away: a reader such as `head` that has read
//! enough, or a terminal that was closed, is no reason to stop.

use std::fmt::Display;
use std::io::Write;

/// Prints a line.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line to standard error.
pub fn complain(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
