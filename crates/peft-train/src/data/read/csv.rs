//! Datasets in files of comma-separated values.

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::{Collector, without_mark};
use crate::Error;
use crate::data::{Place, Problem};

/// Reads the collector's file, a record at a time: the first one says which keys the columns are.
pub(super) fn read(collector: &mut Collector<'_>) -> Result<(), Error> {
    let path = collector.path;
    let bytes = std::fs::read(path).map_err(Error::read(path))?;
    let csv = without_mark(&bytes);
    let mut lines = Lines { bytes: csv, at: 0, line: 1 };
    let mut reader = ReaderBuilder::new().from_reader(csv);
    let keys = match reader.headers() {
        Ok(keys) => keys.clone(),
        Err(error) => return collector.add(Place::Line(1), Err(problem(error))),
    };
    let mut record = StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        let position = match &read {
            Ok(false) => return Ok(()),
            Ok(true) => record.position(),
            Err(error) => error.position(),
        };
        let place = Place::Line(lines.of(position));
        collector.add(place, read.map(|_| object(&keys, &record)).map_err(problem))?;
    }
}

/// Counts lines. The reader's own numbers are those of the end of the record before, where lines end in
/// CRLF or are blank.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line on which the record at `position` begins, which is not before the last one asked for.
    fn of(&mut self, position: Option<&Position>) -> usize {
        let is_break = |byte: &&u8| [b'\r', b'\n'].contains(byte);
        let begin = position.map_or(self.at, |position| position.byte() as usize);
        let begin = begin + self.bytes[begin..].iter().take_while(is_break).count();
        let passed = &self.bytes[self.at..begin];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = begin;
        self.line
    }
}

fn object(keys: &StringRecord, record: &StringRecord) -> Map<String, Value> {
    keys.iter().zip(record).map(|(key, text)| (key.into(), text.into())).collect()
}

fn problem(error: csv::Error) -> Problem {
    let reason = match error.into_kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, and the header has {expected_len}")
        }
        ErrorKind::Utf8 { err, .. } => format!("field {} is not UTF-8", err.field() + 1),
        other => format!("{other:?}"),
    };
    Problem::NotCsv { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataError, Dataset, Example, ReadOptions, read_dataset};

    fn read(content: &[u8], skip_bad_lines: bool) -> Result<Dataset, Error> {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let options = ReadOptions { skip_bad_lines, ..Default::default() };
        read_dataset(&[file.path().into()], &options)
    }

    #[test]
    fn columns_are_keys_and_quoted_fields_may_have_lines() {
        let content =
            b"\xEF\xBB\xBFid,prompt,completion\r\n1,\"a, \"\"b\"\"\nc\",d\r\n\r\n2,e,f\r\n";
        let dataset = read(content, false).unwrap();
        assert_eq!(
            dataset.examples,
            [Example::completion("a, \"b\"\nc", "d"), Example::completion("e", "f")]
        );
        let places: Vec<_> = dataset.origins.iter().map(|origin| origin.place).collect();
        assert_eq!(places, [Place::Line(2), Place::Line(5)]);
    }

    #[test]
    fn a_bad_record_is_named_or_skipped() {
        for (bad, message) in [
            (&b"x,y,z"[..], ".csv:3: invalid CSV: 3 fields, and the header has 2"),
            (b"x,\xFF", ".csv:3: invalid CSV: field 2 is not UTF-8"),
            (b"x, ", ".csv:3: key `completion`: expected an answer, found only white space"),
        ] {
            let content = [b"prompt,completion\na,b\n", bad, b"\nc,d\n"].concat();
            let error = read(&content, false).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
            let dataset = read(&content, true).unwrap();
            assert_eq!((dataset.examples.len(), dataset.skipped), (2, 1));
        }
    }

    #[test]
    fn a_file_without_records_is_refused() {
        for content in [&b""[..], b"prompt,completion\n", b"prompt,\xFF\na,b\n"] {
            let error = read(content, true).unwrap_err();
            assert!(matches!(error, Error::Data(DataError::NoExamples { .. })), "{error}");
        }
    }
}
