//! LoSiA's adapter file: the settled blocks of a run, in order.
//!
//! `losia_blocks.safetensors` holds, for block number `i`, the tensors `i.rows` and `i.cols` (I64,
//! indices into the weight as Burn has it) and `i.delta` (F32, `[rows, cols]`). Its metadata holds
//! `format` (`burn-peft-losia`), `version` (`1`), and `blocks`: a JSON list of `{"path", "step"}`,
//! by number. Added in order to the original weights, each sum rounded once to the weight's type,
//! the blocks give the trained weights bit for bit.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::SettledBlocks;
use crate::Error;
use crate::store::files::{Staged, read_bytes};
use crate::subnet::{SettledBlock, Subnet};

pub(in crate::store) const FILE: &str = "losia_blocks.safetensors";
const FORMAT: &str = "burn-peft-losia";
const VERSION: &str = "1";

#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    step: usize,
}

impl SettledBlocks {
    /// Reads `losia_blocks.safetensors` in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::StoredTensor`] with the file named.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let path = dir.as_ref().join(FILE);
        let bytes = read_bytes(&path)?;
        let entries = entries(&bytes, &path)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&path, e))?;
        let block = |(index, entry)| read_block(&file, index, entry, &path);
        Ok(Self(entries.into_iter().enumerate().map(block).collect::<Result<_, _>>()?))
    }

    /// Writes `losia_blocks.safetensors` into the folder `dir`, which must exist: all of it or
    /// nothing.
    ///
    /// # Errors
    /// [`Error::File`] with the file named.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        let path = dir.as_ref().join(FILE);
        let indices = |indices: &[usize]| -> Vec<u8> {
            indices.iter().flat_map(|&index| (index as i64).to_le_bytes()).collect()
        };
        let mut tensors = Vec::new();
        for (index, block) in self.0.iter().enumerate() {
            let [rows, cols] = [block.subnet.rows(), block.subnet.cols()];
            tensors.push((format!("{index}.rows"), Dtype::I64, vec![rows.len()], indices(rows)));
            tensors.push((format!("{index}.cols"), Dtype::I64, vec![cols.len()], indices(cols)));
            let (shape, bytes) = (vec![rows.len(), cols.len()], block.delta.bytes().to_vec());
            tensors.push((format!("{index}.delta"), Dtype::F32, shape, bytes));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            Ok((name, view.map_err(|e| damaged(&path, e))?))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        let bytes =
            safetensors::serialize(views, Some(self.metadata())).map_err(|e| damaged(&path, e))?;
        Staged::new(&path, &bytes)?.commit()
    }

    fn metadata(&self) -> HashMap<String, String> {
        let entry = |block: &SettledBlock| Entry { path: block.path.clone(), step: block.step };
        let entries: Vec<_> = self.0.iter().map(entry).collect();
        let blocks = serde_json::to_string(&entries).expect("strings and numbers");
        [("format", FORMAT.to_string()), ("version", VERSION.into()), ("blocks", blocks)]
            .map(|(key, value)| (key.to_string(), value))
            .into()
    }
}

/// The list of blocks in a file's metadata.
fn entries(bytes: &[u8], path: &Path) -> Result<Vec<Entry>, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(path, e))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let field = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
    if (field("format"), field("version")) != (FORMAT, VERSION) {
        let found = format!("{:?}, version {:?}", field("format"), field("version"));
        return Err(damaged(path, format!("its format is {found}, expected {FORMAT:?}, \"1\"")));
    }
    serde_json::from_str(field("blocks")).map_err(|e| damaged(path, format!("`blocks`: {e}")))
}

fn read_block(
    file: &SafeTensors,
    index: usize,
    Entry { path: weight, step }: Entry,
    path: &Path,
) -> Result<SettledBlock, Error> {
    let refuse = |name: &str, problem: String| Error::StoredTensor {
        path: path.into(),
        name: name.into(),
        problem,
    };
    let view = |field: &str, dtype: Dtype| {
        let name = format!("{index}.{field}");
        let view = file.tensor(&name).map_err(|_| refuse(&name, "is missing".into()))?;
        match view.dtype() == dtype {
            true => Ok(view),
            false => Err(refuse(&name, format!("is {:?}, expected {dtype:?}", view.dtype()))),
        }
    };
    let indices = |field: &str| {
        let indices = view(field, Dtype::I64)?;
        let index = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let to_usize = |i: i64| usize::try_from(i).unwrap_or(usize::MAX);
        Ok::<_, Error>(indices.data().chunks_exact(8).map(index).map(to_usize).collect::<Vec<_>>())
    };
    let (rows, cols) = (indices("rows")?, indices("cols")?);
    let name = format!("{index}.delta");
    let delta = view("delta", Dtype::F32)?;
    if delta.shape() != [rows.len(), cols.len()] {
        let want = [rows.len(), cols.len()];
        return Err(refuse(&name, format!("has shape {:?}, expected {want:?}", delta.shape())));
    }
    let shape = delta.shape().to_vec();
    let delta = TensorData::try_from_bytes_vec(delta.data().to_vec(), shape, DType::F32)
        .map_err(|e| refuse(&name, e.to_string()))?;
    // The weight's shape is not known yet: order and uniqueness are checked now, range on use.
    let subnet =
        Subnet::new(rows, cols, [usize::MAX; 2]).map_err(|e| refuse(&name, e.to_string()))?;
    Ok(SettledBlock { path: weight, step, subnet, delta, original: None })
}

fn damaged(path: &Path, problem: impl ToString) -> Error {
    Error::File {
        path: path.into(),
        problem: problem.to_string(),
        hint: "the file is damaged, or was not written by LoSiA: write it again",
    }
}

#[cfg(test)]
mod tests {
    use super::super::block;
    use super::*;

    fn written(blocks: &SettledBlocks) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        blocks.write(dir.path()).unwrap();
        dir
    }

    #[test]
    fn blocks_come_back_in_order() {
        let blocks = SettledBlocks(vec![block(3, 0.25), block(9, 1e-3)]);
        assert_eq!(SettledBlocks::read(written(&blocks)).unwrap(), blocks);
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_name() {
        type Damage = fn(&mut Vec<u8>);
        let cases: [(&str, Damage); 3] = [
            ("losia_blocks.safetensors: ", |bytes| bytes.truncate(bytes.len() / 2)),
            ("losia_blocks.safetensors: ", |bytes| bytes.clear()),
            ("its format is", |bytes| {
                let at = bytes.windows(5).position(|w| w == b"losia").unwrap();
                bytes[at..at + 5].copy_from_slice(b"other");
            }),
        ];
        for (message, damage) in cases {
            let dir = written(&SettledBlocks(vec![block(0, 1.0)]));
            let path = dir.path().join(FILE);
            let mut bytes = std::fs::read(&path).unwrap();
            damage(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            let error = SettledBlocks::read(dir.path()).unwrap_err();
            assert!(error.to_string().contains(message), "{message}: {error}");
            assert!(error.hint().is_some());
        }
        let error = SettledBlocks::read(tempfile::tempdir().unwrap()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }

    #[test]
    fn indices_out_of_order_are_refused() {
        let dir = written(&SettledBlocks(vec![block(0, 1.0)]));
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(16).position(|w| w == [0_i64, 2].map(i64::to_le_bytes).concat());
        bytes[at.unwrap() + 8] = 0; // rows 0, 0
        std::fs::write(&path, bytes).unwrap();
        let error = SettledBlocks::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("not strictly increasing: 0 before 0"), "{error}");
    }
}
