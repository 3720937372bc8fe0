//! `case.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tensors::Tensors;
use super::{CaseError, defaults};

/// One recorded case.
#[derive(Debug, Deserialize)]
pub struct Case {
    format: u32,
    /// The folder's name.
    pub name: String,
    /// What is recorded.
    pub kind: String,
    base: Option<PathBuf>,
    /// Every hyper-parameter.
    #[serde(default)]
    pub config: Value,
    files: Option<BTreeMap<String, PathBuf>>,
    #[serde(default)]
    tolerance: BTreeMap<String, f64>,
    /// Reported, but not failed.
    #[serde(default)]
    pub informational: bool,
    #[serde(skip)]
    dir: PathBuf,
}

impl Case {
    pub fn read(dir: &Path) -> Result<Self, CaseError> {
        let mut case: Self = read_json(&dir.join("case.json"))?;
        case.dir = dir.into();
        match case.format {
            1 => Ok(case),
            other => Err(format!("{}: format {other}, expected 1", dir.display()).into()),
        }
    }

    /// The case that holds the base model.
    pub fn base(&self) -> Result<Self, CaseError> {
        let base = self.base.as_ref().ok_or_else(|| format!("{}: no base", self.name))?;
        Self::read(&self.dir.join(base))
    }

    /// The path of the file in `role`, if the case has one: where no file is listed, one of the usual
    /// name.
    pub fn file(&self, role: &str) -> Option<PathBuf> {
        match &self.files {
            Some(files) => files.get(role).map(|name| self.dir.join(name)),
            None => Some(self.dir.join(defaults::file(role)?)).filter(|path| path.is_file()),
        }
    }

    pub fn json<T: DeserializeOwned>(&self, role: &str) -> Result<T, CaseError> {
        read_json(&self.require(role)?)
    }

    pub fn tensors(&self, role: &str) -> Result<Tensors, CaseError> {
        Tensors::read(&self.require(role)?)
    }

    /// The tensors of the file in `role`; none if there is no such file.
    pub fn tensors_if_any(&self, role: &str) -> Result<Tensors, CaseError> {
        self.file(role).map_or_else(|| Ok(Tensors::default()), |path| Tensors::read(&path))
    }

    /// How far the quantity of that name may be off.
    pub fn tolerance(&self, name: &str) -> Result<f64, CaseError> {
        let tolerance = self.tolerance.get(name).copied().or_else(|| defaults::tolerance(name));
        tolerance.ok_or_else(|| format!("{}: no tolerance `{name}`", self.name).into())
    }

    /// The configuration as `T`.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, CaseError> {
        serde_json::from_value(self.config.clone())
            .map_err(|e| format!("{}: config: {e}", self.name).into())
    }

    fn require(&self, role: &str) -> Result<PathBuf, CaseError> {
        self.file(role).ok_or_else(|| format!("{}: no file `{role}`", self.name).into())
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CaseError> {
    let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()).into())
}
