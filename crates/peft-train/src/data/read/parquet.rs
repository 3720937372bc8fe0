//! Datasets in parquet files.

use std::fs::File;

use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use super::Collector;
use crate::Error;
use crate::data::{DataError, Place};
use crate::panics::caught;

/// Reads the collector's file, a row at a time.
pub(super) fn read(collector: &mut Collector<'_>) -> Result<(), Error> {
    let path = collector.path;
    // The reader panics at some damaged files. Nothing of the collector is used after that.
    caught(|| read_rows(collector)).unwrap_or_else(|_| {
        let reason = "its parts contradict each other".into();
        Err(DataError::Damaged { path: path.into(), reason }.into())
    })
}

fn read_rows(collector: &mut Collector<'_>) -> Result<(), Error> {
    let path = collector.path;
    let damaged = |e: ParquetError| DataError::Damaged { path: path.into(), reason: e.to_string() };
    let file = File::open(path).map_err(Error::read(path))?;
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    for (index, row) in reader.get_row_iter(None).map_err(damaged)?.enumerate() {
        let row = row.map_err(damaged)?;
        collector.add(Place::Row(index + 1), Ok(object(row)))?;
    }
    Ok(())
}

fn object(row: Row) -> Map<String, Value> {
    row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect()
}

/// The field as JSON. What is neither text nor made of text matters to no format: such a value
/// only has to keep its kind.
fn value(field: Field) -> Value {
    match field {
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.into()), // old writers do not mark text as such
            Err(_) => Value::Null,
        },
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().cloned().map(value).collect())
        }
        _ => Value::Number(0.into()),
    }
}

#[cfg(test)]
pub(in crate::data) mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::data::{ChatMessage, DataFormat, Dataset, Example, ReadOptions, read_dataset};

    /// Conversations as the `datasets` library writes them: a list of structs.
    const CONVERSATIONS: &str = "message schema {
        optional int64 id;
        optional group messages (LIST) {
            repeated group list {
                optional group element {
                    optional binary role (UTF8);
                    optional binary content (UTF8);
                }
            }
        }
    }";

    fn texts(words: &[&str]) -> Vec<ByteArray> {
        words.iter().map(|word| ByteArray::from(*word)).collect()
    }

    /// Two conversations: one of two messages, and one that is null.
    pub fn write_conversations(path: &Path, compression: Compression) {
        let schema = Arc::new(parse_message_type(CONVERSATIONS).unwrap());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[7, 8], Some(&[1, 1]), None).unwrap();
        column.close().unwrap();
        for words in [["user", "assistant"], ["Hi", "Hello é."]] {
            let mut column = group.next_column().unwrap().unwrap();
            let levels = (Some(&[4i16, 4, 0][..]), Some(&[0i16, 1, 0][..]));
            let words = texts(&words);
            column.typed::<ByteArrayType>().write_batch(&words, levels.0, levels.1).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    fn file(compression: Compression) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
        write_conversations(file.path(), compression);
        file
    }

    fn read(path: &Path, skip_bad_lines: bool) -> Result<Dataset, Error> {
        let options = ReadOptions { skip_bad_lines, ..Default::default() };
        read_dataset(&[path.into()], &options)
    }

    #[test]
    fn nested_rows_are_read_in_the_usual_compressions() {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(Default::default()),
            Compression::GZIP(Default::default()),
            Compression::BROTLI(Default::default()),
            Compression::LZ4,
            Compression::LZ4_RAW,
        ] {
            let dataset = read(file(compression).path(), true).unwrap();
            let messages = [("user", "Hi"), ("assistant", "Hello é.")]
                .map(|(role, content)| ChatMessage::new(role, content));
            assert_eq!(dataset.examples, [Example::Chat(messages.into())]);
            assert_eq!((dataset.format, dataset.skipped), (DataFormat::Messages, 1));
        }
    }

    #[test]
    fn a_malformed_row_is_named() {
        let error = read(file(Compression::SNAPPY).path(), false).unwrap_err().to_string();
        assert!(
            error.ends_with(
                ".parquet, row 2: missing key `messages` (format messages); found id, messages"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_cut_file_is_damaged() {
        let file = file(Compression::SNAPPY);
        let bytes = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), &bytes[..bytes.len() / 2]).unwrap();
        let error = read(file.path(), true).unwrap_err();
        assert!(matches!(error, Error::Data(DataError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains(file.path().to_str().unwrap()));
    }
}
