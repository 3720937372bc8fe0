//! Datasets in files of one JSON object per line.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde_json::{Map, Value};

use super::format::{DataFormat, Example, LineProblem, kind};
use crate::Error;

/// A dataset read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonlDataset {
    /// The examples in the file's order; never empty.
    pub examples: Vec<Example>,
    /// The format given or found.
    pub format: DataFormat,
    /// Malformed lines left out.
    pub skipped: usize,
}

/// Reads the dataset at `path`.
///
/// Without a `format`, the first object's keys decide. Blank lines, CRLF and a byte-order mark
/// are tolerated. A malformed line is an error, or left out and counted with `skip_bad_lines`.
///
/// # Errors
/// [`Error::Io`], [`Error::BadLine`], [`Error::UnknownFormat`], or [`Error::NoExamples`] when no
/// usable line is there.
pub fn read_jsonl(
    path: &Path,
    format: Option<DataFormat>,
    skip_bad_lines: bool,
) -> Result<JsonlDataset, Error> {
    let file = File::open(path).map_err(Error::read(path))?;
    let mut parser = Parser { path, format, skip_bad_lines, examples: Vec::new(), skipped: 0 };
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(Error::read(path))?;
        parser.add(index + 1, &line)?;
    }
    parser.finish()
}

struct Parser<'a> {
    path: &'a Path,
    format: Option<DataFormat>,
    skip_bad_lines: bool,
    examples: Vec<Example>,
    skipped: usize,
}

impl Parser<'_> {
    fn add(&mut self, number: usize, line: &[u8]) -> Result<(), Error> {
        let line = match number {
            1 => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
            _ => line,
        };
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.example(number, line) {
            Ok(example) => self.examples.push(example),
            Err(Error::BadLine { .. }) if self.skip_bad_lines => self.skipped += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn example(&mut self, line: usize, bytes: &[u8]) -> Result<Example, Error> {
        let path = self.path;
        let bad = |problem| Error::BadLine { path: path.to_owned(), line, problem };
        let object = parse_object(bytes).map_err(bad)?;
        let format = self.format_of(line, &object)?;
        format.example(&object).map_err(bad)
    }

    fn format_of(&mut self, line: usize, object: &Map<String, Value>) -> Result<DataFormat, Error> {
        if self.format.is_none() {
            self.format = DataFormat::detect(object);
        }
        self.format.ok_or_else(|| Error::UnknownFormat {
            path: self.path.to_owned(),
            line,
            found: object.keys().cloned().collect(),
        })
    }

    fn finish(self) -> Result<JsonlDataset, Error> {
        match self.format {
            Some(format) if !self.examples.is_empty() => {
                Ok(JsonlDataset { examples: self.examples, format, skipped: self.skipped })
            }
            _ => Err(Error::NoExamples { path: self.path.to_owned(), skipped: self.skipped }),
        }
    }
}

fn parse_object(line: &[u8]) -> Result<Map<String, Value>, LineProblem> {
    let text = str::from_utf8(line)
        .map_err(|error| LineProblem::NotUtf8 { column: error.valid_up_to() + 1 })?;
    match serde_json::from_str(text).map_err(not_json)? {
        Value::Object(object) => Ok(object),
        other => Err(LineProblem::NotAnObject { found: kind(&other) }),
    }
}

/// The parser's reason without its own line number, which is always 1 here and would contradict
/// the file's.
fn not_json(error: serde_json::Error) -> LineProblem {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    LineProblem::NotJson { column: error.column(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn read(content: &[u8], skip_bad_lines: bool) -> Result<JsonlDataset, Error> {
        read_jsonl(file(content).path(), None, skip_bad_lines)
    }

    fn completions(dataset: &JsonlDataset) -> Vec<&str> {
        let examples = dataset.examples.iter();
        examples.map(|example| &*example.completion).collect()
    }

    #[test]
    fn a_byte_order_mark_crlf_and_blank_lines_are_tolerated() {
        let dataset =
            read(b"\xEF\xBB\xBF\r\n{\"text\":\"a\"}\r\n \r\n{\"text\":\"b\"}", false).unwrap();
        assert_eq!(completions(&dataset), ["a", "b"]);
        let dataset = read(b"\xEF\xBB\xBF{\"text\":\"a\"}\n", false).unwrap();
        assert_eq!(completions(&dataset), ["a"]);
    }

    #[test]
    fn a_given_format_goes_before_the_detected_one() {
        let file = file(br#"{"prompt":"p","completion":"c","text":"t"}"#);
        let dataset = read_jsonl(file.path(), Some(DataFormat::Text), false).unwrap();
        assert_eq!(completions(&dataset), ["t"]);
        assert_eq!(dataset.format, DataFormat::Text);
    }

    /// Second lines that are no example, after a good first one, and what the error says.
    const BAD_LINES: [(&[u8], &str); 8] = [
        (br#"{"prompt":"p","#, "invalid JSON at byte 14: EOF while parsing a value"),
        (br#"{"prompt" "p"}"#, "invalid JSON at byte 11: expected `:`"),
        (br#"["prompt"]"#, "expected a JSON object, found an array"),
        (
            br#"{"prompt":"p","answer":"c"}"#,
            "missing key `completion` (format prompt-completion); found answer, prompt",
        ),
        (
            br#"{"prompt":"p","completion":null}"#,
            "missing key `completion` (format prompt-completion); found completion, prompt",
        ),
        (br#"{"prompt":1,"completion":"c"}"#, "key `prompt`: expected a string, found a number"),
        (
            br#"{"prompt":"p","completion":" \n"}"#,
            "key `completion`: expected an answer, found only white space",
        ),
        (b"{\"prompt\":\"\xFF\"}", "invalid UTF-8 at byte 12"),
    ];

    const GOOD: &[u8] = br#"{"prompt":"p","completion":"c"}"#;

    #[test]
    fn a_malformed_line_is_named_with_its_problem_and_a_hint() {
        for (bad, expected) in BAD_LINES {
            let file = file(&[GOOD, bad].join(&b'\n'));
            let error = read_jsonl(file.path(), None, false).unwrap_err();
            let expected = format!("{}:2: {expected}", file.path().display());
            assert_eq!(error.to_string(), expected);
            assert!(error.hint().unwrap().contains("--skip-bad-lines"));
        }
    }

    #[test]
    fn malformed_lines_are_skipped_and_counted_on_request() {
        let mut lines: Vec<&[u8]> = BAD_LINES.iter().map(|(line, _)| *line).collect();
        lines.insert(0, b"not JSON, so the next object decides the format");
        lines.insert(1, GOOD);
        lines.push(GOOD);
        let dataset = read(&lines.join(&b'\n'), true).unwrap();
        assert_eq!(completions(&dataset), ["c", "c"]);
        assert_eq!(dataset.skipped, BAD_LINES.len() + 1);
    }

    #[test]
    fn unknown_keys_are_listed_beside_the_known_formats() {
        let error = read(br#"{"question":"q","answer":"a"}"#, true).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("found answer, question"), "{message}");
        assert!(message.contains("alpaca (instruction, output)"), "{message}");
        assert!(message.contains("text (text)"), "{message}");
        assert!(error.hint().unwrap().contains("`type`"));
    }

    #[test]
    fn a_file_without_a_usable_line_is_refused() {
        for (content, skipped) in [(&b""[..], 0), (b"\n\r\n", 0), (b"{}x\n[]\n", 2)] {
            let error = read(content, true).unwrap_err();
            assert!(
                matches!(error, Error::NoExamples { skipped: found, .. } if found == skipped),
                "{error}"
            );
        }
        let hint = read(b"[]", true).unwrap_err().hint().unwrap();
        assert!(hint.contains("without `--skip-bad-lines`"), "{hint}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_jsonl(Path::new("/nowhere/data.jsonl"), None, true).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `/nowhere/data.jsonl`"));
        assert!(error.hint().unwrap().contains("does not exist"));
    }
}
