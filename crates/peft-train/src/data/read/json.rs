//! Datasets in files of one JSON array.

use serde_json::Value;

use super::{Collector, jsonl, object, without_mark};
use crate::Error;
use crate::data::{DataError, Place};

/// Reads the collector's file: an array of objects, or what many publish under this extension, an
/// object per line.
pub(super) fn read(collector: &mut Collector<'_>) -> Result<(), Error> {
    let path = collector.path;
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let json = without_mark(&bytes);
    if !json.trim_ascii_start().starts_with(b"[") {
        return jsonl::read_lines(json, collector);
    }
    let elements: Vec<Value> = serde_json::from_slice(json)
        .map_err(|e| DataError::Damaged { path: path.into(), reason: e.to_string() })?;
    for (index, element) in elements.into_iter().enumerate() {
        collector.add(Place::Row(index + 1), object(element))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Example, ReadOptions, read_dataset};

    fn read(content: &str, skip_bad_lines: bool) -> Result<Dataset, Error> {
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let options = ReadOptions { skip_bad_lines, ..Default::default() };
        read_dataset(&[file.path().into()], &options)
    }

    #[test]
    fn arrays_and_lines_are_read() {
        for content in [
            "\u{feff} [\n{\"text\": \"a\"},\n{\"text\": \"b\"}]\n",
            "{\"text\":\"a\"}\n{\"text\":\"b\"}",
        ] {
            let dataset = read(content, false).unwrap();
            let answers: Vec<_> = dataset.examples.iter().map(Example::answer).collect();
            assert_eq!(answers, ["a", "b"]);
        }
    }

    #[test]
    fn a_malformed_element_is_named_or_skipped() {
        let content = r#"[{"text": "a"}, 2, {"text": "c"}]"#;
        let error = read(content, false).unwrap_err().to_string();
        assert!(error.ends_with(".json, row 2: expected a JSON object, found a number"), "{error}");
        let dataset = read(content, true).unwrap();
        assert_eq!((dataset.examples.len(), dataset.skipped), (2, 1));
    }

    #[test]
    fn a_damaged_array_is_an_error_even_where_lines_are_skipped() {
        let error = read("[{\"text\": \"a\"},\n{\"text\" 1}]", true).unwrap_err();
        let message = error.to_string();
        assert!(message.ends_with(": expected `:` at line 2 column 9"), "{message}");
        assert!(error.hint().unwrap().contains("again"));
    }
}
