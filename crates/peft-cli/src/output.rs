//! Standard output.

use std::fmt::Display;
use std::io::Write;

/// Prints a line. A reader that has gone away, such as `head`, is no failure.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
