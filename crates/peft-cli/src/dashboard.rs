//! Burn's dashboard, on a terminal whose Ctrl-C is still a signal.

use std::io;

use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use crossterm::cursor::Show;
use crossterm::event::DisableMouseCapture;
use crossterm::execute;
use crossterm::terminal::{LeaveAlternateScreen, disable_raw_mode, is_raw_mode_enabled};
use peft_train::plan::Training;

/// The dashboard of `training`. It has the terminal until it is dropped.
pub fn dashboard(training: &Training) -> Box<dyn MetricsRenderer> {
    #[cfg(unix)]
    let _ = raw::except_interrupt(); // where nothing can be set, Burn says so
    let segments = Some(training.ended_segments());
    Box::new(TuiMetricsRendererWrapper::new(training.interrupter(), segments))
}

/// Whether the dashboard has the terminal.
pub fn is_shown() -> bool {
    is_raw_mode_enabled().unwrap_or(false)
}

/// Gives the terminal back, for a program that ends at once.
pub fn leave() {
    if is_shown() {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    }
}

#[cfg(unix)]
mod raw {
    use std::fs::File;
    use std::io::{self, IsTerminal};
    use std::os::fd::AsFd;

    use crossterm::terminal::enable_raw_mode;
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    };

    /// What stands for no key.
    const NONE: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xff };

    /// Makes the terminal raw, as Burn would, which leaves it as it is then. Ctrl-C, for which the
    /// dashboard has no use, stays a signal. What else is one on a terminal becomes a key: a program that
    /// was quit or suspended would not give the terminal back.
    pub fn except_interrupt() -> io::Result<()> {
        enable_raw_mode()?;
        match io::stdin().is_terminal() {
            true => change(io::stdin()),
            false => change(File::open("/dev/tty")?),
        }
    }

    fn change(terminal: impl AsFd) -> io::Result<()> {
        let mut modes: Termios = tcgetattr(&terminal)?;
        modes.local_modes.insert(LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VQUIT] = NONE;
        modes.special_codes[SpecialCodeIndex::VSUSP] = NONE;
        Ok(tcsetattr(&terminal, OptionalActions::Now, &modes)?)
    }
}
