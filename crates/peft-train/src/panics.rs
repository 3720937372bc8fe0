//! Panics of other crates as errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use crate::Error;

thread_local! {
    /// Calls of [`caught`] that this thread is in.
    static CATCHING: Cell<usize> = const { Cell::new(0) };
}

/// Has nothing printed about panics that this crate catches: they are errors, which the program tells.
/// All others are told as before, and all of them where `RUST_BACKTRACE` asks for more. To be called once,
/// by a program and not by a library: what is printed about panics is one setting for the whole process.
pub fn silence_caught_panics() {
    let tell = take_hook();
    let tells_all = std::env::var_os("RUST_BACKTRACE").is_some();
    set_hook(Box::new(move |panic| {
        if tells_all || CATCHING.get() == 0 {
            tell(panic);
        }
    }));
}

/// Burn panics where a device runs out of memory or a renderer cannot write, and other crates at input
/// they did not expect. That must take neither the run's report nor what was trained with it.
///
/// # Errors
/// The panic's words.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|panic| words(&*panic))
}

/// [`caught`] for work on a device beside the training.
///
/// # Errors
/// Those of the work; [`Error::Device`] for a panic.
pub(crate) fn on_device<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    caught(work).map_err(|reason| Error::Device { reason })?
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_words() {
        assert_eq!(caught(|| panic!("out of memory")), Err::<(), _>("out of memory".into()));
        assert_eq!(caught(|| panic!("at step {}", 7)), Err::<(), _>("at step 7".into()));
        assert_eq!(caught(|| 3), Ok(3));
    }

    #[test]
    fn a_thread_knows_whether_its_panics_are_caught() {
        let nested = caught(|| (caught(|| panic!("within")).is_err(), CATCHING.get()));
        assert_eq!((nested, CATCHING.get()), (Ok((true, 1)), 0));
        caught(|| std::thread::spawn(|| assert_eq!(CATCHING.get(), 0)).join().unwrap()).unwrap();
    }

    #[test]
    fn a_panic_on_a_device_is_an_error_with_a_hint() {
        let error = on_device::<()>(|| panic!("out of memory")).unwrap_err();
        assert_eq!(error.to_string(), "the device failed: out of memory");
        assert!(error.hint().is_some());
        assert!(matches!(
            on_device::<()>(|| Err(Error::ShardedOptimizer)),
            Err(Error::ShardedOptimizer)
        ));
    }
}
