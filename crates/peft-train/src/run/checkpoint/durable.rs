//! Waiting for the disk.

use std::fs::{File, OpenOptions};
use std::path::Path;

use crate::Error;

/// Waits until the content of the file at `path` is on the disk.
///
/// # Errors
/// [`Error::Io`]; this is where some file systems say that they are full.
pub(super) fn sync_file(path: &Path) -> Result<(), Error> {
    // Windows flushes only what was opened for writing.
    let file = OpenOptions::new().write(true).open(path).map_err(Error::write(path))?;
    file.sync_all().map_err(Error::write(path))
}

/// Waits until the names in the folder `dir` are on the disk. Only Unix can: elsewhere a rename may
/// be lost with the power, never torn.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn sync_folder(dir: &Path) -> Result<(), Error> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(Error::write(dir))
}
