//! Whether a folder is free for a checkpoint.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{CONFIG, INDEX, split};
use crate::Error;

/// Refuses a folder with a checkpoint, or with weights that would stay beside the new ones, which are in
/// `shards` files: some readers would take those.
///
/// # Errors
/// [`Error::Exists`] with the first file in the way, [`Error::Io`].
pub(super) fn check(dir: &Path, shards: usize) -> Result<(), Error> {
    let whole = [CONFIG, INDEX].map(|name| dir.join(name)).into_iter().find(|path| path.exists());
    let found = match whole {
        Some(path) => Some(path),
        None => other_weights(dir, shards)?,
    };
    found.map_or(Ok(()), |path| Err(Error::Exists { path }))
}

/// Weights in `dir` that a save in `shards` files does not overwrite.
fn other_weights(dir: &Path, shards: usize) -> Result<Option<PathBuf>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(Error::io(dir))?,
    };
    let written: Vec<_> = (0..shards).map(|index| split::file_name(index, shards)).collect();
    for entry in entries {
        let path = entry.map_err(Error::io(dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if split::is_file_name(name) && !written.iter().any(|own| own == name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::{WEIGHTS, save_sharded};
    use super::*;
    use crate::config::fixtures::tiny;
    use peft_testing::device;
    use tempfile::TempDir;

    #[test]
    fn weights_of_an_interrupted_save_in_other_files_are_refused() {
        let (config, dir) = (tiny(), TempDir::new().unwrap());
        let model = config.init(&device());
        for (left, max_shard_bytes) in
            [("model-00002-of-00007.safetensors", u64::MAX), (WEIGHTS, 4000)]
        {
            let path = dir.path().join(left);
            std::fs::write(&path, "interrupted").unwrap();
            let error = save_sharded(&model, &config, dir.path(), None, max_shard_bytes);
            let error = error.unwrap_err();
            assert!(matches!(&error, Error::Exists { path: found } if *found == path), "{error}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            std::fs::remove_file(path).unwrap();
        }
    }
}
