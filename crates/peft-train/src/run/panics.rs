//! Panics of Burn as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;

/// Burn panics where a device runs out of memory or a renderer cannot write. That must take neither
/// the run's report nor what was trained with it.
///
/// # Errors
/// The panic's words.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(&*panic))
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
