//! The checkpoints in an output folder: which there are, and which are removed.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::{Error, report, staged};

const PREFIX: &str = "checkpoint-";

/// The folder of a checkpoint after `steps` steps.
pub(super) fn path_of(output_dir: &Path, steps: usize) -> PathBuf {
    output_dir.join(format!("{PREFIX}{steps}"))
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

/// Removes what a process that was killed while it wrote or removed something left behind, and
/// puts back what it had moved away to replace it.
pub(in crate::run) fn remove_leftovers(output_dir: &Path) -> Result<(), Error> {
    staged::clean_up(output_dir)?;
    for entry in std::fs::read_dir(output_dir).map_err(Error::read(output_dir))? {
        let path = entry.map_err(Error::read(output_dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(report::TEMPORARY) && path.is_file() {
            std::fs::remove_file(&path).map_err(Error::remove(&path))?;
        }
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
    future.into_iter().chain(old).try_for_each(|(_, path)| staged::remove(&path))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

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
        let dir = folder(&["checkpoint-3", ".staged-a1b2c3"]);
        std::fs::write(dir.path().join(".write-a1b2c3"), "half").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(steps(&dir), [3]);
    }
}
