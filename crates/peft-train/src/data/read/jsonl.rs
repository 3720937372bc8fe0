//! Datasets in files of one JSON object per line.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

use serde_json::{Map, Value};

use super::{Collector, object, without_mark};
use crate::Error;
use crate::data::{Place, Problem};

/// Reads the collector's file, a line at a time.
pub(super) fn read(collector: &mut Collector<'_>) -> Result<(), Error> {
    let path = collector.path;
    let file = File::open(path).map_err(Error::read(path))?;
    read_lines(BufReader::new(file), collector)
}

/// Reads an object from each line that is not blank.
pub(super) fn read_lines(lines: impl BufRead, collector: &mut Collector<'_>) -> Result<(), Error> {
    for (index, line) in lines.split(b'\n').enumerate() {
        let line = line.map_err(Error::read(collector.path))?;
        let line = if index == 0 { without_mark(&line) } else { &line };
        if !line.trim_ascii().is_empty() {
            collector.add(Place::Line(index + 1), parse_object(line))?;
        }
    }
    Ok(())
}

fn parse_object(line: &[u8]) -> Result<Map<String, Value>, Problem> {
    let text = str::from_utf8(line)
        .map_err(|error| Problem::NotUtf8 { column: error.valid_up_to() + 1 })?;
    object(serde_json::from_str(text).map_err(not_json)?)
}

/// The parser's reason without its own line number, which is always 1 here and would contradict
/// the file's.
fn not_json(error: serde_json::Error) -> Problem {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    Problem::NotJson { column: error.column(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::data::{DataError, DataFormat, Dataset, Example, read_jsonl};

    fn file(content: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn read(content: &[u8], skip_bad_lines: bool) -> Result<Dataset, Error> {
        read_jsonl(file(content).path(), None, skip_bad_lines)
    }

    fn completions(dataset: &Dataset) -> Vec<&str> {
        dataset.examples.iter().map(Example::answer).collect()
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
            assert!(error.hint().unwrap().contains("`skip_bad_lines`"));
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
                matches!(
                    error,
                    Error::Data(DataError::NoExamples { skipped: found, .. }) if found == skipped
                ),
                "{error}"
            );
        }
        let hint = read(b"[]", true).unwrap_err().hint().unwrap();
        assert!(hint.contains("without `skip_bad_lines`"), "{hint}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_jsonl(Path::new("/nowhere/data.jsonl"), None, true).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `/nowhere/data.jsonl`"));
        assert!(error.hint().unwrap().contains("does not exist"));
    }
}
