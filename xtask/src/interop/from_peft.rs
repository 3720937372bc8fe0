//! Adapters that PEFT made, loaded here.

use std::path::{Path, PathBuf};

use peft_core::store::AdapterFiles;
use peft_core::{Tuner, TunerConfig};

use super::base::{Base, Run};
use super::refuse_failed;
use crate::conform::{self, CaseError};

/// The folders of the adapters there are for `base`, by name.
pub fn folders(base: &Base) -> Result<Vec<PathBuf>, CaseError> {
    let dir = base.dir.join("from_peft");
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut folders = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    folders.sort();
    Ok(folders)
}

/// The adapter in `dir` on `base`.
pub fn run(base: &Base, dir: &Path) -> Result<Run, CaseError> {
    refuse_failed(dir)?;
    let method = conform::method(&AdapterFiles::read(dir)?)?;
    let (tuner, model) = Tuner::attach(method, TunerConfig::default(), base.model.clone())?;
    Run::new(base, dir.into(), &tuner, &model)
}
