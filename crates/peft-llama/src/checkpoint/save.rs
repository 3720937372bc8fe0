//! From a model to a checkpoint.

use std::fs::Permissions;
use std::io::Write;
use std::path::Path;

use burn::store::burn_pack::AtomicFile;
use burn::store::{FloatCastAdapter, ModuleSnapshot, SafetensorsStore};
use burn::tensor::DType;

use super::split::{self, Shard};
use super::{CONFIG, INDEX, fit, free};
use crate::config::is_weight_dtype;
use crate::{CausalLm, DecoderConfig, Error};

/// Files a [`Tokenizer`](crate::Tokenizer) reads, or that other tools want beside it.
const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
];

/// The largest safetensors file that [`save`] writes, in bytes: Hugging Face's 5 GB.
pub const MAX_SHARD_BYTES: u64 = 5_000_000_000;

/// Writes `model`, which `config` describes, as a Hugging Face checkpoint into the folder `dir`:
/// `model.safetensors`, then `config.json`. Weights are stored as `dtype` (f32, bf16 or f16), or
/// as they are. Above [`MAX_SHARD_BYTES`] there are several safetensors files and
/// `model.safetensors.index.json`.
///
/// Each file appears complete or not at all, and `config.json` comes last: a folder with neither it
/// nor an index is an interrupted save, which the next one into the same files overwrites.
///
/// # Errors
/// [`Error::Exists`] where `dir` holds a checkpoint or other weights, [`Error::ModelMismatch`] where `model` is not
/// the plain decoder of `config` (adapters are attached), [`Error::DType`], [`Error::Io`] and
/// [`Error::Write`].
pub fn save(
    model: &CausalLm,
    config: &DecoderConfig,
    dir: impl AsRef<Path>,
    dtype: Option<DType>,
) -> Result<(), Error> {
    save_sharded(model, config, dir, dtype, MAX_SHARD_BYTES)
}

/// Like [`save`], in safetensors files of at most `max_shard_bytes`, or of one tensor.
///
/// # Errors
/// Those of [`save`].
pub fn save_sharded(
    model: &CausalLm,
    config: &DecoderConfig,
    dir: impl AsRef<Path>,
    dtype: Option<DType>,
    max_shard_bytes: u64,
) -> Result<(), Error> {
    let dir = dir.as_ref();
    let dtype = dtype.unwrap_or(model.model.embed_tokens.weight.base().dtype());
    if !is_weight_dtype(dtype) {
        return Err(Error::DType { found: dtype });
    }
    check_model(model, config)?;
    let shards = split::split(model, dtype, max_shard_bytes);
    free::check(dir, shards.len())?;

    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    write_shards(model, dir, dtype, &shards)?;
    let json = format!("{:#}\n", config.to_json(dtype));
    write_file(&dir.join(CONFIG), json.as_bytes())
}

/// Copies the tokenizer's files, as many as there are, from the checkpoint in `from` to the folder
/// `to`, so that a saved model can be used by itself.
///
/// # Errors
/// [`Error::Io`].
pub fn copy_tokenizer_files(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Error> {
    for name in TOKENIZER_FILES {
        let source = from.as_ref().join(name);
        if source.exists() {
            std::fs::copy(&source, to.as_ref().join(name)).map_err(Error::io(&source))?;
        }
    }
    Ok(())
}

fn check_model(model: &CausalLm, config: &DecoderConfig) -> Result<(), Error> {
    let mut expected = fit::shapes(config, &model.model.embed_tokens.weight.device());
    let differs = |name: String, found: String, expected: String| {
        Err(Error::ModelMismatch { name, found, expected })
    };
    for tensor in model.collect(None, None, false) {
        let found = tensor.shape.to_vec();
        match expected.remove(&tensor.name) {
            Some(shape) if shape == found => (),
            Some(shape) => return differs(tensor.name, format!("{found:?}"), format!("{shape:?}")),
            None => return differs(tensor.name, format!("{found:?}"), "no such parameter".into()),
        }
    }
    match expected.pop_first() {
        Some((name, shape)) => differs(name, "missing".into(), format!("{shape:?}")),
        None => Ok(()),
    }
}

fn write_shards(model: &CausalLm, dir: &Path, dtype: DType, shards: &[Shard]) -> Result<(), Error> {
    let permissions = ordinary_permissions(dir)?;
    for (index, shard) in shards.iter().enumerate() {
        let path = dir.join(split::file_name(index, shards.len()));
        write_shard(model, &path, dtype, shard)?;
        // safetensors leaves a file that only its owner can read.
        std::fs::set_permissions(&path, permissions.clone()).map_err(Error::io(&path))?;
    }
    match shards.len() {
        1 => Ok(()),
        _ => write_file(&dir.join(INDEX), format!("{:#}\n", split::index(shards)).as_bytes()),
    }
}

fn write_shard(model: &CausalLm, path: &Path, dtype: DType, shard: &Shard) -> Result<(), Error> {
    let mut store = SafetensorsStore::from_file(path)
        .overwrite(true)
        .with_full_paths(shard.names.iter().cloned())
        .clear_metadata()
        .metadata("format", "pt") // transformers refuses files that do not say so
        .with_to_adapter(FloatCastAdapter::to(dtype));
    model.save_into(&mut store).map_err(|e| write_error(path, e))
}

/// The permissions that new files in `dir` get, read from one that is removed again.
fn ordinary_permissions(dir: &Path) -> Result<Permissions, Error> {
    let path = dir.join(CONFIG);
    let (_scratch, file) = AtomicFile::create(&path).map_err(|e| write_error(&path, e))?;
    Ok(file.metadata().map_err(Error::io(&path))?.permissions())
}

/// Writes a file that appears complete or not at all.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let (scratch, mut file) = AtomicFile::create(path).map_err(|e| write_error(path, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(path))?;
    drop(file);
    scratch.commit().map_err(|e| write_error(path, e))
}

fn write_error(path: &Path, error: impl ToString) -> Error {
    Error::Write { path: path.into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::{WEIGHTS, fixtures};
    use super::*;
    use crate::config::fixtures::{tiny, tiny_with};
    use burn::module::{Lora, Module};
    use burn::store::bridge;
    use peft_testing::device;
    use safetensors::SafeTensors;
    use serde_json::json;
    use tempfile::TempDir;

    #[test]
    fn the_file_is_what_transformers_reads() {
        let (config, dir) = (tiny(), TempDir::new().unwrap());
        let model = config.init(&device());
        save(&model, &config, dir.path(), Some(DType::BF16)).unwrap();
        let bytes = std::fs::read(dir.path().join(WEIGHTS)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let down = file.tensor("model.layers.0.mlp.down_proj.weight").unwrap();
        assert_eq!((down.shape(), down.dtype()), (&[16, 12][..], safetensors::Dtype::BF16));
        let written = DecoderConfig::from_file(dir.path().join(CONFIG)).unwrap();
        assert_eq!(written, DecoderConfig { dtype: Some(DType::BF16), ..config });
    }

    #[test]
    fn a_checkpoint_is_never_overwritten_but_a_partial_one_is() {
        let (config, dir) = (tiny(), TempDir::new().unwrap());
        let model = config.init(&device());
        std::fs::write(dir.path().join(WEIGHTS), "interrupted").unwrap();
        save(&model, &config, dir.path(), None).unwrap();
        let before = std::fs::read(dir.path().join(WEIGHTS)).unwrap();
        let error = save(&config.init(&device()), &config, dir.path(), None).unwrap_err();
        assert!(matches!(&error, Error::Exists { path } if path.ends_with(CONFIG)), "{error}");
        assert_eq!(std::fs::read(dir.path().join(WEIGHTS)).unwrap(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn weights_have_the_permissions_of_other_files() {
        use std::os::unix::fs::PermissionsExt;

        let (config, dir) = (tiny(), TempDir::new().unwrap());
        save_sharded(&config.init(&device()), &config, dir.path(), None, 4000).unwrap();
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata());
        let modes: Vec<_> = files.map(|file| file.unwrap().permissions().mode()).collect();
        let ordinary = std::fs::metadata(dir.path().join(CONFIG)).unwrap().permissions().mode();
        assert!(modes.len() > 4 && modes.iter().all(|mode| *mode == ordinary), "{modes:?}");
    }

    #[test]
    fn a_large_model_is_split_and_read_back_bit_for_bit() {
        let (config, dir) = (tiny(), TempDir::new().unwrap());
        let model = config.init(&device());
        save_sharded(&model, &config, dir.path(), None, 4000).unwrap();
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert!(files > 4 && !dir.path().join(WEIGHTS).exists(), "{files} files");
        let (loaded, _) = fixtures::load(dir.path(), None).unwrap();
        for (a, b) in model.collect(None, None, false).iter().zip(loaded.collect(None, None, false))
        {
            let [a, b] = [a, &b].map(|tensor| bridge::to_data(tensor).unwrap());
            assert_eq!(a, b);
        }
        let error = save_sharded(&model, &config, dir.path(), None, 4000).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
    }

    #[test]
    fn a_model_that_is_not_the_plain_decoder_is_refused() {
        let config = tiny();
        let plain = config.init(&device());
        let adapted = plain.clone().apply_lora(Lora::new(2, 2.0));
        let cases = [
            (&adapted, config.clone(), "expected no such parameter"),
            (&plain, tiny_with(json!({"vocab_size": 20})), "[19, 16], expected [20, 16]"),
            (&plain, tiny_with(json!({"num_hidden_layers": 3})), "is missing"),
        ];
        for (model, config, problem) in cases {
            let dir = TempDir::new().unwrap();
            let error = save(model, &config, dir.path(), None).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint().is_some());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let (config, dir) = (tiny(), TempDir::new().unwrap());
        let model = config.init(&device());
        let error = save(&model, &config, dir.path(), Some(DType::F64)).unwrap_err();
        assert!(matches!(error, Error::DType { .. }), "{error}");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = save(&model, &config, &file, None).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if *path == file), "{error}");
    }

    #[test]
    fn tokenizer_files_are_copied_where_they_exist() {
        let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::write(from.path().join("tokenizer.json"), "{}").unwrap();
        std::fs::write(from.path().join(CONFIG), "{}").unwrap();
        copy_tokenizer_files(&from, &to).unwrap();
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 1);
        let error = copy_tokenizer_files(&from, to.path().join("absent")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}
