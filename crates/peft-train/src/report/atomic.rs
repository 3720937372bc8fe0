//! Files that are either the old one or the new one, never half of it.

use std::{io::Write, path::Path};

use tempfile::{Builder, NamedTempFile};

use crate::Error;

/// How files begin that a process killed in the middle of a write leaves behind.
pub(crate) const TEMPORARY: &str = ".write-";

/// Replaces the file at `path`, whose folder must exist, by `bytes`. A crash or a full disk
/// leaves the old file as it was.
///
/// # Errors
/// [`Error::Io`], which names `path`.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = temporary_in(folder).map_err(Error::write(path))?;
    file.write_all(bytes).map_err(Error::write(path))?;
    // Without this, the rename could reach the disk before the content does.
    file.as_file().sync_all().map_err(Error::write(path))?;
    let renamed = file.persist(path).map_err(|error| error.error);
    renamed.map_err(Error::write(path))?;
    Ok(())
}

/// A temporary file with the permissions of an ordinary one; by default only its owner could
/// read it.
fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt};
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_old_content_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_has_the_permissions_of_an_ordinary_one() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let [atomic, plain] = ["atomic", "plain"].map(|name| folder.path().join(name));
        write_atomic(&atomic, b"").unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(atomic), mode(plain));
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file_and_names_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"new").unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_with_a_hint() {
        let error = write_atomic(Path::new("/nowhere/run.json"), b"").unwrap_err();
        assert!(error.to_string().starts_with("cannot write `/nowhere/run.json`"));
        assert!(error.hint().unwrap().contains("folder does not exist"));
    }
}
