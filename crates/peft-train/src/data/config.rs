//! A dataset as a configuration names it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Columns, DataError, DataFormat};

/// The largest weight: beyond it, someone meant something else.
const MOST: f64 = 100.0;

/// One of the datasets a run trains on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// A `.jsonl`, `.json`, `.csv` or `.parquet` file, a folder of such files, or the name of a dataset on
    /// the Hugging Face hub: `org/name`.
    pub path: String,
    /// The format of its objects; by default, the first object's keys decide.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// Which of several configurations, each in a folder of that name, of a folder or hub dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which split of a folder or hub dataset.
    #[serde(default = "train")]
    pub split: String,
    /// Which branch, tag or commit of a hub dataset.
    #[serde(default = "main")]
    pub revision: String,
    /// Names of columns, by the format's keys they stand for: `{ instruction = "query" }`.
    #[serde(default, skip_serializing_if = "Columns::is_empty")]
    pub columns: Columns,
    /// How often an epoch sees each sample: 2 is twice, 0.5 is half of them.
    #[serde(default = "one")]
    pub weight: f64,
}

impl DatasetConfig {
    /// The dataset at `path` with every setting at its default.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            format: None,
            name: None,
            split: train(),
            revision: main(),
            columns: Columns::new(),
            weight: one(),
        }
    }

    /// Refuses what no dataset could satisfy.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a weight that is not positive or huge, or a column for a key that no
    /// format has.
    pub fn check(&self) -> Result<(), DataError> {
        if !(self.weight > 0.0 && self.weight <= MOST) {
            return Err(self.refuse("weight", self.weight, "above 0 and at most 100"));
        }
        let formats: Vec<_> = self.format.map_or(DataFormat::ALL.into(), |format| vec![format]);
        let keys = |format: &DataFormat| [format.required_keys(), format.optional_keys()].concat();
        let known: Vec<_> = formats.iter().flat_map(keys).collect();
        match self.columns.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, column)) => {
                let of = self.format.map_or("some format".into(), |format| format.to_string());
                let expected = format!(
                    "names of columns by keys of {of}, which has {} and no `{key}`",
                    known.join(", ")
                );
                Err(self.refuse("columns", format!("{{ {key} = {column:?} }}"), expected))
            }
            None => Ok(()),
        }
    }

    fn refuse(
        &self,
        key: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> DataError {
        let (found, expected) = (found.to_string(), expected.into());
        DataError::Setting { dataset: self.path.clone(), key, found, expected }
    }
}

fn train() -> String {
    "train".into()
}

fn main() -> String {
    "main".into()
}

fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_enough() {
        let config: DatasetConfig = toml::from_str("path = \"a.jsonl\"").unwrap();
        assert_eq!(config, DatasetConfig::new("a.jsonl"));
        config.check().unwrap();
    }

    #[test]
    fn every_setting_has_its_usual_name() {
        let config: DatasetConfig = toml::from_str(
            r#"path = "org/name"
               type = "alpaca"
               name = "main"
               split = "test"
               revision = "v1"
               columns = { instruction = "query", output = "response" }
               weight = 0.5"#,
        )
        .unwrap();
        assert_eq!(config.format, Some(DataFormat::Alpaca));
        assert_eq!(config.columns["output"], "response");
        config.check().unwrap();
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<DatasetConfig>(&written).unwrap(), config);
        assert!(toml::from_str::<DatasetConfig>("path = \"a\"\nwieght = 2").is_err());
    }

    #[test]
    fn impossible_settings_are_named() {
        for weight in [0.0, -1.0, f64::NAN, 101.0] {
            let config = DatasetConfig { weight, ..DatasetConfig::new("a.jsonl") };
            assert_eq!(
                config.check().unwrap_err().to_string(),
                format!(
                    "dataset `a.jsonl`: `weight` is {weight}, expected above 0 and at most 100"
                )
            );
        }
        let columns = [("prompt".to_string(), "query".to_string())].into();
        let format = Some(DataFormat::Alpaca);
        let config = DatasetConfig { columns, format, ..DatasetConfig::new("a.jsonl") };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "dataset `a.jsonl`: `columns` is { prompt = \"query\" }, expected names of columns by \
             keys of alpaca, which has instruction, output, input, system, history and no `prompt`"
        );
    }
}
