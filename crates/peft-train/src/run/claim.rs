//! An output folder becomes one run's own, with what an earlier run left in it.

use std::path::{Path, PathBuf};

use super::checkpoint::list;
use super::lock::OutputLock;
use super::plan::RunPlan;
use crate::folder::{ADAPTER, CONFIG, FINAL};
use crate::{Error, report, staged};

/// An output folder that no other run works in.
pub(crate) struct Claim {
    lock: OutputLock,
    /// What an earlier run left, and this one is to replace.
    replaced: Vec<PathBuf>,
    /// Whether the run goes on from a checkpoint in the folder, and so with the log in it.
    pub goes_on: bool,
}

impl Claim {
    /// Takes the output folder of `plan`, which is made if need be.
    ///
    /// # Errors
    /// [`Error::OutputDirLocked`]; [`Error::OutputDirInUse`] where an earlier run would be lost, and
    /// the plan does not say that it may be; [`Error::BaseReplaced`]; [`Error::Io`].
    pub fn of(plan: &RunPlan<'_>) -> Result<Self, Error> {
        let RunPlan { output_dir, resume_from, config, .. } = plan;
        std::fs::create_dir_all(output_dir).map_err(Error::write(output_dir))?;
        let lock = OutputLock::take(output_dir)?;
        if goes_on(*resume_from, output_dir) {
            return Ok(Self { lock, replaced: Vec::new(), goes_on: true });
        }
        if let Some(found) = earlier_result(output_dir)?.filter(|_| !config.overwrite_output_dir) {
            return Err(Error::OutputDirInUse { path: (*output_dir).into(), found });
        }
        if let Some(base) = &plan.base {
            base_stays(&base.dir, output_dir)?;
        }
        Ok(Self { lock, replaced: left_in(output_dir)?, goes_on: false })
    }

    /// Removes what an earlier run left, once this one is accepted: nothing of it may be taken for
    /// this run's. The lock is the run's from here on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn replace_earlier(self) -> Result<OutputLock, Error> {
        self.replaced.iter().try_for_each(|path| staged::remove(path))?;
        Ok(self.lock)
    }
}

/// What an earlier run left in `output_dir` that training again would not give back at once: its newest
/// checkpoint, or its result.
pub(crate) fn earlier_result(output_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let newest = list(output_dir)?.pop().map(|(_, path)| path);
    let results = [FINAL, ADAPTER].map(|name| output_dir.join(name));
    Ok(newest.or_else(|| results.into_iter().find(|path| path.exists())))
}

/// Refuses a base model, in the folder `base`, that is among what an earlier run left in `output_dir`.
///
/// # Errors
/// [`Error::BaseReplaced`]; [`Error::Io`].
pub(crate) fn base_stays(base: &Path, output_dir: &Path) -> Result<(), Error> {
    match left_in(output_dir)?.iter().any(|at| is_same(at, base)) {
        true => Err(Error::BaseReplaced { path: base.into() }),
        false => Ok(()),
    }
}

/// All that an earlier run left in `output_dir`, but for `metrics.jsonl`, which every run begins anew in
/// place: it may be a pipe. First what the rest is found by: a folder of which only a part was removed
/// must not be taken for a run.
fn left_in(output_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = [CONFIG].into_iter().chain(report::FILES).chain([FINAL, ADAPTER]);
    let named = names.map(|name| output_dir.join(name)).filter(|path| path.exists());
    let checkpoints = list(output_dir)?.into_iter().map(|(_, path)| path);
    Ok(named.chain(checkpoints).collect())
}

/// Whether the run in `output_dir` goes on from one of its own checkpoints.
pub(crate) fn goes_on(resume_from: Option<&Path>, output_dir: &Path) -> bool {
    resume_from.is_some_and(|checkpoint| lies_in(checkpoint, output_dir))
}

/// Whether the folder `path` is in the folder `dir`.
pub(crate) fn lies_in(path: &Path, dir: &Path) -> bool {
    let absolute = std::path::absolute(path).ok();
    absolute.as_deref().and_then(Path::parent).is_some_and(|parent| is_same(parent, dir))
}

/// Whether two paths lead to the same place.
fn is_same(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(std::fs::canonicalize);
    a.is_ok_and(|a| b.is_ok_and(|b| a == b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_run_leaves_is_known_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(earlier_result(dir.path()).unwrap(), None);
        for name in ["config.toml", "run.json", "report.md", "loss.svg", "data.jsonl"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(earlier_result(dir.path()).unwrap(), None, "no work is in these");
        for name in ["adapter", "final", "checkpoint-9", "checkpoint-10", "notes"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(earlier_result(dir.path()).unwrap(), Some(dir.path().join("checkpoint-10")));
        let left = left_in(dir.path()).unwrap();
        let names: Vec<_> = left.iter().map(|path| path.file_name().unwrap()).collect();
        let expected = [
            "config.toml",
            "run.json",
            "report.md",
            "loss.svg",
            "final",
            "adapter",
            "checkpoint-9",
            "checkpoint-10",
        ];
        assert_eq!(names, expected);
    }
}
