//! Waiting for the disk.

use std::fs::{File, OpenOptions};
use std::path::Path;

use crate::Error;

/// Waits until the folder `dir` and all it holds are on the disk.
///
/// # Errors
/// [`Error::Io`]; this is where some file systems say that they are full.
pub(super) fn sync_all(dir: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(Error::read(dir))? {
        let path = entry.map_err(Error::read(dir))?.path();
        match path.is_dir() {
            true => sync_all(&path)?,
            false => sync_file(&path)?,
        }
    }
    sync_folder(dir)
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

fn sync_file(path: &Path) -> Result<(), Error> {
    // Windows flushes only what was opened for writing, and Unix lets files be read-only.
    let file = OpenOptions::new().read(true).write(cfg!(windows)).open(path);
    file.and_then(|file| file.sync_all()).map_err(Error::write(path))
}
