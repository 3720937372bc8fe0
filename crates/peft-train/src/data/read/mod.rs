//! Datasets in files.

mod csv;
mod json;
mod jsonl;
mod parquet;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::object::kind;
use super::{Columns, DataError, DataFormat, Example, Place, Problem};
use crate::Error;

/// The extensions of files that can be read.
pub(super) const EXTENSIONS: [&str; 4] = ["jsonl", "json", "csv", "parquet"];

/// How the objects of a dataset are read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The format; where it is `None`, the first object's keys decide.
    pub format: Option<DataFormat>,
    /// Names of columns that differ from the format's keys.
    pub columns: Columns,
    /// Whether malformed objects are left out and counted instead of being an error.
    pub skip_bad_lines: bool,
}

/// A dataset read from its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The examples in the files' order; never empty.
    pub examples: Vec<Example>,
    /// Where each example stands.
    pub origins: Vec<Origin>,
    /// The format given or found.
    pub format: DataFormat,
    /// Malformed objects left out.
    pub skipped: usize,
}

/// Where an example was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: Arc<Path>,
    /// Where in the file.
    pub place: Place,
}

/// Reads a dataset from one or more files, each by its extension: `.jsonl` has an object per line,
/// `.json` an array of objects (or an object per line), `.csv` a header and a record per object,
/// `.parquet` a row per object.
///
/// Blank lines, CRLF and a byte-order mark are tolerated.
///
/// # Errors
/// [`Error::Io`], and a [`DataError`] that names the file and the line or row: for a malformed
/// object, an unknown format or extension, a damaged file, or where no usable object is there.
pub fn read_dataset(paths: &[PathBuf], options: &ReadOptions) -> Result<Dataset, Error> {
    let mut collector = Collector::new(options);
    for path in paths {
        collector.begin(path);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => jsonl::read(&mut collector)?,
            Some("json") => json::read(&mut collector)?,
            Some("csv") => csv::read(&mut collector)?,
            Some("parquet") => parquet::read(&mut collector)?,
            _ => return Err(DataError::FileType { path: path.clone() }.into()),
        }
    }
    collector.finish()
}

/// Reads the file of one JSON object per line at `path`, whatever its extension.
///
/// # Errors
/// As [`read_dataset`].
pub fn read_jsonl(
    path: &Path,
    format: Option<DataFormat>,
    skip_bad_lines: bool,
) -> Result<Dataset, Error> {
    let options = ReadOptions { format, skip_bad_lines, ..Default::default() };
    let mut collector = Collector::new(&options);
    collector.begin(path);
    jsonl::read(&mut collector)?;
    collector.finish()
}

/// Examples on their way from files into a dataset.
struct Collector<'a> {
    /// The file being read.
    path: &'a Path,
    /// The same, as examples share it.
    shared_path: Arc<Path>,
    options: &'a ReadOptions,
    format: Option<DataFormat>,
    examples: Vec<Example>,
    origins: Vec<Origin>,
    skipped: usize,
}

impl<'a> Collector<'a> {
    fn new(options: &'a ReadOptions) -> Self {
        let path = Path::new("");
        Self {
            path,
            shared_path: path.into(),
            options,
            format: options.format,
            examples: Vec::new(),
            origins: Vec::new(),
            skipped: 0,
        }
    }

    /// Goes on with the file at `path`.
    fn begin(&mut self, path: &'a Path) {
        (self.path, self.shared_path) = (path, path.into());
    }

    /// Takes the object at `place` of the present file, or what is wrong with it.
    fn add(
        &mut self,
        place: Place,
        object: Result<Map<String, Value>, Problem>,
    ) -> Result<(), Error> {
        let object = match object {
            Ok(object) => object,
            Err(problem) => return self.skip(place, problem),
        };
        let format = self.format_of(place, &object)?;
        match format.example(&object, &self.options.columns) {
            Ok(example) => {
                self.examples.push(example);
                self.origins.push(Origin { path: self.shared_path.clone(), place });
            }
            Err(problem) => self.skip(place, problem)?,
        }
        Ok(())
    }

    fn skip(&mut self, place: Place, problem: Problem) -> Result<(), Error> {
        if !self.options.skip_bad_lines {
            return Err(DataError::BadExample { path: self.path.into(), place, problem }.into());
        }
        self.skipped += 1;
        Ok(())
    }

    fn format_of(
        &mut self,
        place: Place,
        object: &Map<String, Value>,
    ) -> Result<DataFormat, DataError> {
        if self.format.is_none() {
            self.format = DataFormat::detect(object, &self.options.columns);
        }
        self.format.ok_or_else(|| DataError::UnknownFormat {
            path: self.path.into(),
            place,
            found: object.keys().cloned().collect(),
        })
    }

    fn finish(self) -> Result<Dataset, Error> {
        let Self { path, examples, origins, skipped, .. } = self;
        match self.format {
            Some(format) if !examples.is_empty() => {
                Ok(Dataset { examples, origins, format, skipped })
            }
            _ => Err(DataError::NoExamples { path: path.into(), skipped }.into()),
        }
    }
}

/// The object that `value` must be.
fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(Problem::NotAnObject { found: kind(&other) }),
    }
}

/// Rest of a file's first bytes after a byte-order mark, if there is one.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_one_dataset_in_the_first_ones_format() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [("a.jsonl", r#"{"text":"a"}"#), ("b.json", r#"[{"text":"b"}]"#)];
        let paths = paths.map(|(name, content)| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        });
        let dataset = read_dataset(&paths, &ReadOptions::default()).unwrap();
        let answers: Vec<_> = dataset.examples.iter().map(Example::answer).collect();
        assert_eq!((answers, dataset.format), (vec!["a", "b"], DataFormat::Text));

        std::fs::write(&paths[1], r#"[{"text":"b"}, {"prompt":"p","completion":"c"}]"#).unwrap();
        let error = read_dataset(&paths, &ReadOptions::default()).unwrap_err().to_string();
        let expected = "b.json, row 2: missing key `text` (format text); found completion, prompt";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn an_unknown_extension_is_refused() {
        let error = read_dataset(&["data.txt".into()], &ReadOptions::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`data.txt`: expected a file ending in .jsonl, .json, .csv, .parquet"
        );
        assert!(error.hint().unwrap().contains("convert"));
    }
}
