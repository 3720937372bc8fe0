//! The checkpoints in an output folder: which there are, and which are removed.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, report};

const PREFIX: &str = "checkpoint-";
/// What a process that was killed may leave behind begins with this.
const TEMPORARY: &str = ".checkpoint-";

/// The folder of a checkpoint after `steps` steps.
pub(super) fn path_of(output_dir: &Path, steps: usize) -> PathBuf {
    output_dir.join(format!("{PREFIX}{steps}"))
}

/// A folder that goes when it is dropped, on the same file system as the checkpoints.
pub(super) fn temporary_in(output_dir: &Path) -> Result<TempDir, Error> {
    let builder = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(output_dir);
    builder.map_err(Error::write(output_dir))
}

/// The checkpoints in `output_dir` with their steps, the oldest first. Nothing is said about their
/// content.
pub(crate) fn list(output_dir: &Path) -> Result<Vec<(usize, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(output_dir).map_err(Error::read(output_dir))? {
        let path = entry.map_err(Error::read(output_dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let steps = name.and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        if let Some(steps) = steps.filter(|_| path.is_dir()) {
            found.push((steps, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a checkpoint: first its name, so that no part of it is ever found under it.
pub(in crate::run) fn remove(checkpoint: &Path) -> Result<(), Error> {
    let output_dir = checkpoint.parent().unwrap_or(Path::new("."));
    let grave = temporary_in(output_dir)?;
    let moved = std::fs::rename(checkpoint, grave.path().join("removed"));
    moved.and_then(|()| grave.close()).map_err(|source| Error::Io {
        action: "remove",
        path: checkpoint.into(),
        source,
    })
}

/// Removes what a process that was killed while it wrote or removed something left behind.
pub(in crate::run) fn remove_leftovers(output_dir: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(output_dir).map_err(Error::read(output_dir))? {
        let path = entry.map_err(Error::read(output_dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let removed = match path.is_dir() {
            true if name.starts_with(TEMPORARY) => std::fs::remove_dir_all(&path),
            false if name.starts_with(report::TEMPORARY) => std::fs::remove_file(&path),
            _ => continue,
        };
        removed.map_err(|source| Error::Io { action: "remove", path, source })?;
    }
    Ok(())
}

/// Removes checkpoints a run at `steps` does not keep: all but the newest `limit` and the one after
/// `best` steps, and those of a future that a resume from an earlier checkpoint gave up.
pub(in crate::run) fn prune(
    output_dir: &Path,
    steps: usize,
    limit: Option<NonZeroUsize>,
    best: Option<usize>,
) -> Result<(), Error> {
    let (past, future): (Vec<_>, Vec<_>) =
        list(output_dir)?.into_iter().partition(|(at, _)| *at <= steps);
    let excess = limit.map_or(0, |limit| past.len().saturating_sub(limit.get()));
    let old = past.into_iter().take(excess).filter(|(at, _)| Some(*at) != best);
    future.into_iter().chain(old).try_for_each(|(_, path)| remove(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("file"), "content").unwrap();
        }
        dir
    }

    fn steps(dir: &TempDir) -> Vec<usize> {
        list(dir.path()).unwrap().into_iter().map(|(steps, _)| steps).collect()
    }

    #[test]
    fn checkpoints_are_found_by_name_and_sorted_by_steps() {
        let dir = folder(&["checkpoint-10", "checkpoint-9", "checkpoint-x", "other-3"]);
        std::fs::write(dir.path().join("checkpoint-11"), "a file").unwrap();
        assert_eq!(steps(&dir), [9, 10]);
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let names = [2, 4, 6, 8, 10].map(|steps| format!("checkpoint-{steps}"));
        let all = names.each_ref().map(String::as_str);
        let limit = NonZeroUsize::new(2);
        for (limit, best, now, kept) in [
            (limit, None, 10, vec![8, 10]),
            (limit, Some(4), 10, vec![4, 8, 10]),
            (limit, Some(10), 10, vec![8, 10]),
            (limit, None, 8, vec![6, 8]), // 10 belongs to a future that was given up
            (None, None, 10, vec![2, 4, 6, 8, 10]),
            (None, None, 6, vec![2, 4, 6]),
        ] {
            let dir = folder(&all);
            prune(dir.path(), now, limit, best).unwrap();
            assert_eq!(steps(&dir), kept);
            let left = std::fs::read_dir(&dir).unwrap().count();
            assert_eq!(left, kept.len(), "nothing temporary is left");
        }
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed() {
        let dir = folder(&["checkpoint-3", ".checkpoint-a1b2c3"]);
        std::fs::write(dir.path().join(".write-a1b2c3"), "half").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(steps(&dir), [3]);
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let dir = folder(&[]);
        let error = remove(&dir.path().join("checkpoint-1")).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove `") && error.contains("checkpoint-1"), "{error}");
    }
}
