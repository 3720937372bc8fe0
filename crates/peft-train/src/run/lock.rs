//! One run at a time in an output folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::checkpoint::remove_leftovers;
use crate::Error;

/// Holds an output folder until it is dropped or the process ends, however it ends.
pub(crate) struct OutputLock {
    _file: Option<File>,
}

impl OutputLock {
    /// Takes the folder, and brings it in order after a process that was killed there. File systems
    /// that know no locks give none, and nothing is refused there.
    ///
    /// # Errors
    /// [`Error::OutputDirLocked`] if a run that is alive holds it; [`Error::Io`].
    pub fn take(output_dir: &Path) -> Result<Self, Error> {
        let path = output_dir.join(".lock");
        let file = File::create(&path).map_err(Error::write(&path))?;
        let file = match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::OutputDirLocked { path: output_dir.into() });
            }
            Err(TryLockError::Error(_)) => None,
        };
        remove_leftovers(output_dir)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let lock = OutputLock::take(dir.path()).unwrap();
        let error = OutputLock::take(dir.path()).err().unwrap();
        assert!(error.to_string().contains("another run"), "{error}");
        assert!(error.hint().is_some());
        drop(lock);
        OutputLock::take(dir.path()).unwrap();
    }
}
