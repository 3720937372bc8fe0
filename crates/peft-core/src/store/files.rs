//! Safetensors files of host tensors, and files that appear complete or not at all.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tempfile::NamedTempFile;

use crate::Error;

const FLOATS: &str = "expected F32, BF16 or F16";

/// Reads the text file at `path`.
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(unreadable(path))
}

/// Reads the file at `path`.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(unreadable(path))
}

/// Reads all tensors of the safetensors file at `path`.
pub(super) fn read_tensors(path: &Path) -> Result<BTreeMap<String, TensorData>, Error> {
    let bytes = read_bytes(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::File {
        path: path.into(),
        problem: format!("not a complete safetensors file: {e}"),
        hint: "the file is damaged or incomplete: download or write it again",
    })?;
    file.iter().map(|(name, view)| Ok((name.into(), read_tensor(path, name, view)?))).collect()
}

fn read_tensor(path: &Path, name: &str, view: TensorView) -> Result<TensorData, Error> {
    let refuse = |problem| Error::StoredTensor { path: path.into(), name: name.into(), problem };
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        other => return Err(refuse(format!("is {other:?}, {FLOATS}"))),
    };
    TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
        .map_err(|e| refuse(e.to_string()))
}

/// The bytes of a safetensors file of `tensors`, which will be at `path`.
pub(super) fn tensor_bytes(
    path: &Path,
    tensors: &BTreeMap<String, &TensorData>,
) -> Result<Vec<u8>, Error> {
    let views = tensors.iter().map(|(name, tensor)| {
        let refuse =
            |problem| Error::StoredTensor { path: path.into(), name: name.into(), problem };
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::BF16 => Dtype::BF16,
            DType::F16 => Dtype::F16,
            other => return Err(refuse(format!("is {other:?}, {FLOATS}"))),
        };
        let view = TensorView::new(dtype, tensor.shape().to_vec(), tensor.bytes());
        Ok((name, view.map_err(|e| refuse(e.to_string()))?))
    });
    // transformers and PEFT refuse files that do not say so
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let views: Vec<_> = views.collect::<Result<_, Error>>()?;
    safetensors::serialize(views, Some(metadata)).map_err(unwritable(path))
}

/// A file written under another name in its folder, to appear under its own at
/// [`commit`](Self::commit).
pub(super) struct Staged {
    path: PathBuf,
    file: NamedTempFile,
}

impl Staged {
    /// Writes `bytes` in the folder of `path`, through to the disk.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let write = || {
            let mut file = builder().tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().map_err(unwritable::<std::io::Error>(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Puts the file in its place.
    pub fn commit(self) -> Result<(), Error> {
        self.file.persist(&self.path).map(drop).map_err(unwritable(&self.path))
    }
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // As any other new file, subject to the umask; temporary files are private otherwise.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let hint = "check that the path exists and that you may read it";
    move |e| Error::File { path: path.into(), problem: e.to_string(), hint }
}

/// The error for a file at `path` that cannot be written, for `map_err`.
pub(super) fn unwritable<E: ToString>(path: &Path) -> impl FnOnce(E) -> Error {
    let hint = "check that the folder exists, that you may write to it, and free disk space";
    move |e| Error::File {
        path: path.into(),
        problem: format!("cannot be written: {}", e.to_string()),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::testing::tensor;

    fn written(tensors: &[(&str, TensorData)]) -> Vec<u8> {
        let tensors = tensors.iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
        tensor_bytes(Path::new("file"), &tensors).unwrap()
    }

    #[test]
    fn all_float_types_survive_bit_for_bit() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        let types = [("a", DType::F32), ("b", DType::BF16), ("c", DType::F16)];
        let tensors = types.map(|(name, dtype)| (name, tensor(&[2, 3]).convert_dtype(dtype)));
        Staged::new(&path, &written(&tensors)).unwrap().commit().unwrap();
        let read = read_tensors(&path).unwrap();
        assert_eq!(read, tensors.map(|(name, tensor)| (name.to_string(), tensor)).into());
    }

    #[test]
    fn other_types_are_refused_by_tensor() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        let view = TensorView::new(Dtype::I64, vec![1], &[0; 8]).unwrap();
        std::fs::write(&path, safetensors::serialize([("a", view)], None).unwrap()).unwrap();
        let error = read_tensors(&path).unwrap_err().to_string();
        assert!(error.ends_with("file: tensor `a` is I64, expected F32, BF16 or F16"), "{error}");

        let double = tensor(&[1]).convert_dtype(DType::F64);
        let error = tensor_bytes(&path, &[("b".to_string(), &double)].into()).unwrap_err();
        assert!(error.to_string().ends_with("`b` is F64, expected F32, BF16 or F16"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        let good = written(&[("a", tensor(&[2, 3]))]);
        let header = |length: u64| [&length.to_le_bytes(), &good[8..]].concat();
        let text = String::from_utf8_lossy(&good).into_owned();
        let lies = |from: &str, to: &str| {
            assert!(text.contains(from));
            let at = text.find(from).unwrap();
            [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
        };
        let damaged = [
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
            good[..4].to_vec(),
            Vec::new(),
            header(u64::MAX),
            header(good.len() as u64),
            lies("[2,3]", "[2,4]"),
            lies("[0,24]", "[4,28]"),
            lies("[0,24]", "[0,99]"),
            lies("F32", "F99"),
        ];
        for bytes in damaged {
            std::fs::write(&path, bytes).unwrap();
            let error = read_tensors(&path).unwrap_err();
            let problem = "file: not a complete safetensors file: ";
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint().unwrap().contains("damaged"));
        }
    }

    #[test]
    fn a_staged_file_appears_only_when_committed() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "old").unwrap();
        drop(Staged::new(&path, b"dropped").unwrap());
        let staged = Staged::new(&path, b"new").unwrap();
        assert_eq!(read_text(&path).unwrap(), "old");
        staged.commit().unwrap();
        assert_eq!(read_text(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_or_written_is_named() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("absent").join("file");
        let error = Staged::new(&path, b"").err().unwrap();
        let start = format!("{}: cannot be written: ", path.display());
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(error.hint().unwrap().contains("the folder exists"));
        let occupied = Staged::new(dir.path(), b"").unwrap().commit().unwrap_err();
        assert!(matches!(&occupied, Error::File { path, .. } if path == dir.path()), "{occupied}");
        let error = read_text(&path).unwrap_err();
        assert!(matches!(&error, Error::File { path: named, .. } if *named == path), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn files_are_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let dir = TempDir::new().unwrap();
        let [staged, plain] = ["staged", "plain"].map(|name| dir.path().join(name));
        Staged::new(&staged, b"").unwrap().commit().unwrap();
        std::fs::write(&plain, "").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&staged), mode(&plain));
    }
}
