//! Folders that appear, are replaced and go whole or not at all.
//!
//! A new folder is filled beside its place and renamed when all of it is on the disk. Whatever stops
//! the program or the machine, the old folder or the new one is there: in its place, or, between two
//! renames, in a temporary folder from which [`clean_up`] puts it back.

mod sync;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;
use sync::{sync_all, sync_folder};

/// How temporary folders begin.
const PREFIX: &str = ".staged-";
/// How folders begin that are being removed.
const REMOVED: &str = ".staged-removed-";
/// In a temporary folder: what is to appear.
const NEW: &str = "new";
/// In a temporary folder: a folder with what was moved away from its place, under its name.
const OLD: &str = "old";
/// In a temporary folder: a file that is locked as long as its process lives.
const LOCK: &str = "lock";

/// Fills a new folder with `fill`, and puts it in the place of `dir` and what may be there.
///
/// # Errors
/// Those of `fill`; [`Error::Io`]. What was there before then still is.
pub(crate) fn replace(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let parent = parent_of(dir);
    std::fs::create_dir_all(parent).map_err(Error::write(parent))?;
    let (staged, _lock) = stage(parent)?;
    let new = staged.path().join(NEW); // temporary folders themselves are closed to others
    std::fs::create_dir(&new).map_err(Error::write(&new))?;
    fill(&new)?;
    sync_all(&new)?;
    let staged = staged.keep(); // it may hold the only one from here on
    let swapped = swap(&staged, dir).map_err(Error::write(dir));
    sync_folder(parent)?; // before the old one goes
    let ended = end(&staged);
    swapped.and(ended)
}

/// Removes the file or folder `path`: of a folder first the name, so that no part of it is ever found
/// under it. That needs no space: the disk may be full of what is removed.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let removed = match path.is_dir() {
        true => remove_folder(path),
        false => std::fs::remove_file(path),
    };
    removed.map_err(Error::remove(path))?;
    sync_folder(parent_of(path)) // what comes after may count on it
}

fn remove_folder(dir: &Path) -> io::Result<()> {
    let mut grave = OsString::from(REMOVED);
    grave.push(dir.file_name().unwrap_or_default());
    let grave = parent_of(dir).join(grave);
    remove_all(&grave)?; // of a removal that was interrupted
    std::fs::rename(dir, &grave)?;
    remove_all(&grave)
}

/// Removes a folder that others may be removing, too.
fn remove_all(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Ends what processes that were killed began in the folder `parent`: what was moved away from its
/// place and not replaced is put back, and temporary folders are removed. Those of processes at work
/// are left alone, where the file system knows locks.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn clean_up(parent: &Path) -> Result<(), Error> {
    for path in entries(parent).map_err(Error::read(parent))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(PREFIX) && path.is_dir() && is_abandoned(&path) {
            end(&path)?;
        }
    }
    Ok(())
}

/// [`clean_up`] of the folder that `dir` is in, or is to be in.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn clean_up_beside(dir: &Path) -> Result<(), Error> {
    let parent = parent_of(dir);
    if parent.exists() { clean_up(parent) } else { Ok(()) }
}

/// Whether the process is gone that made the temporary folder `staged`. Another user's is not ours to
/// judge.
fn is_abandoned(staged: &Path) -> bool {
    match OpenOptions::new().write(true).open(staged.join(LOCK)) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// The folder that `dir` is in.
fn parent_of(dir: &Path) -> &Path {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// A temporary folder in `parent`, on whose file system renames do not copy, and the lock that says
/// that it is in use.
fn stage(parent: &Path) -> Result<(TempDir, File), Error> {
    let staged = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
    let staged = staged.map_err(Error::write(parent))?;
    let path = staged.path().join(LOCK);
    let lock = File::create(&path).map_err(Error::write(&path))?;
    let _ = lock.try_lock(); // some file systems know no locks
    Ok((staged, lock))
}

/// Moves `dir`, if it is there, into the temporary folder `staged`, and the new one into its place.
fn swap(staged: &Path, dir: &Path) -> io::Result<()> {
    if dir.exists() {
        let old = staged.join(OLD);
        std::fs::create_dir(&old)?;
        std::fs::rename(dir, old.join(dir.file_name().unwrap_or_default()))?;
    }
    std::fs::rename(staged.join(NEW), dir)
}

/// Removes the temporary folder `staged`, after what it took from places that are empty is back.
fn end(staged: &Path) -> Result<(), Error> {
    let old = staged.join(OLD);
    if old.exists() && !is_removed(staged) {
        for old in entries(&old).map_err(Error::read(&old))? {
            let place = parent_of(staged).join(old.file_name().unwrap_or_default());
            if !place.exists() {
                std::fs::rename(&old, &place).map_err(Error::write(&place))?;
            }
        }
        sync_folder(parent_of(staged))?;
    }
    remove_all(staged).map_err(Error::remove(staged))
}

/// Whether the folder `staged` is itself what is removed, whatever it holds.
fn is_removed(staged: &Path) -> bool {
    let name = staged.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(REMOVED))
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fill(content: &str) -> impl FnOnce(&Path) -> Result<(), Error> {
        move |new| fs::write(new.join("file"), content).map_err(Error::write(new))
    }

    /// A parent folder, and `final` in it with `old` in a file.
    fn folder() -> (TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("final");
        replace(&dir, fill("old")).unwrap();
        (parent, dir)
    }

    /// The temporary folder of a process that was killed.
    fn abandoned(parent: &TempDir) -> PathBuf {
        stage(parent.path()).unwrap().0.keep()
    }

    fn check(parent: &TempDir, dir: &Path, content: &str) {
        assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), content);
        assert_eq!(fs::read_dir(parent).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_folder_is_replaced_by_a_whole_one_only() {
        let (parent, dir) = folder();
        check(&parent, &dir, "old");
        replace(&dir, fill("new")).unwrap();
        check(&parent, &dir, "new");
        let failed = replace(&dir, |new| {
            fill("broken")(new)?;
            Err(Error::ShardedOptimizer)
        });
        assert!(matches!(failed, Err(Error::ShardedOptimizer)));
        check(&parent, &dir, "new");
    }

    /// Stops before each of the steps of [`replace`].
    #[test]
    fn the_old_folder_or_the_new_one_survives_a_kill_at_any_point() {
        for (steps, left) in [(0, "old"), (1, "old"), (2, "old"), (3, "new"), (4, "new")] {
            let (parent, dir) = folder();
            let staged = abandoned(&parent);
            let (new, old) = (staged.join(NEW), staged.join(OLD));
            let make: [&dyn Fn(); 4] = [
                &|| fs::create_dir(&new).and_then(|()| fs::write(new.join("file"), "new")).unwrap(),
                &|| {
                    fs::create_dir(&old).and_then(|()| fs::rename(&dir, old.join("final"))).unwrap()
                },
                &|| fs::rename(&new, &dir).unwrap(),
                &|| fs::remove_file(old.join("final/file")).unwrap(),
            ];
            make[..steps].iter().for_each(|step| step());
            clean_up(parent.path()).unwrap();
            check(&parent, &dir, left);
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let (parent, dir) = folder();
        let staged = abandoned(&parent);
        assert!(swap(&staged, &dir).is_err(), "there is no new one");
        assert!(!dir.exists());
        end(&staged).unwrap();
        check(&parent, &dir, "old");
    }

    #[test]
    fn what_is_removed_goes_as_a_whole_and_does_not_come_back() {
        let (parent, dir) = folder();
        remove(&dir).unwrap();
        clean_up(parent.path()).unwrap();
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
        let error = remove(&dir).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove `") && error.contains("final"), "{error}");
    }

    #[test]
    fn a_removal_that_was_interrupted_is_ended_by_the_next_one() {
        type End = fn(&Path) -> Result<(), Error>;
        let ends: [(End, bool); 2] =
            [(clean_up, true), (|parent| remove(&parent.join("final")), false)];
        for (ended_by, is_kept) in ends {
            let (parent, dir) = folder();
            fs::create_dir_all(dir.join("old/kept")).unwrap();
            fs::rename(&dir, parent.path().join(".staged-removed-final")).unwrap();
            replace(&dir, fill("new")).unwrap();
            ended_by(parent.path()).unwrap();
            let left = entries(parent.path()).unwrap();
            assert_eq!(left, if is_kept { vec![dir] } else { vec![] });
        }
    }

    #[test]
    fn only_temporary_folders_are_cleaned_up() {
        let (parent, dir) = folder();
        let file = parent.path().join(".staged-notes");
        fs::write(&file, "a file").unwrap();
        clean_up(parent.path()).unwrap();
        assert!(file.exists() && dir.exists());
    }

    #[test]
    fn what_a_process_at_work_has_staged_is_left_alone() {
        let (parent, dir) = folder();
        let (working, lock) = stage(parent.path()).unwrap();
        fs::write(working.path().join("file"), "half").unwrap();
        let dead = abandoned(&parent);
        clean_up_beside(&dir).unwrap();
        assert!(working.path().join("file").exists() && !dead.exists());
        drop(lock);
        clean_up_beside(&dir).unwrap();
        assert!(!working.path().exists());
        clean_up_beside(&parent.path().join("absent/final")).unwrap();
    }
}
