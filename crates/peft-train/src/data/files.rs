//! Which files of a folder are a dataset's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::read::EXTENSIONS;
use super::{DataError, DatasetConfig};
use crate::Error;

/// Words that file names tell splits by.
const SPLITS: [&str; 9] =
    ["train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval"];

/// The data files below the folder `dir`, links followed, in order of their names.
pub(super) fn in_folder(dir: &Path, config: &DatasetConfig) -> Result<Vec<PathBuf>, Error> {
    Ok(select(names(dir)?, config)?.into_iter().map(|file| dir.join(file)).collect())
}

/// Paths in the folder `dir` of all files below it, links followed.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    list(dir, "", &mut files)?;
    Ok(files)
}

/// Of `files`, paths with slashes in a folder or repository, those of the configuration and split
/// that `config` asks for.
///
/// Splits are told as on the hub: by names like `train-00000-of-00002.parquet` where there are
/// such, else by a word like `train` or `test` in the path. Files without such a word are the
/// training data.
///
/// # Errors
/// [`DataError::NoDataFiles`] where no file is left, one of a numbered set is missing, or the files
/// lie in different folders, which are different configurations.
pub(super) fn select(files: Vec<String>, config: &DatasetConfig) -> Result<Vec<String>, DataError> {
    let refuse = |reason| DataError::NoDataFiles {
        dataset: config.path.clone(),
        split: config.split.clone(),
        reason,
    };
    let mut files: Vec<String> = files.into_iter().filter(|file| is_data(file)).collect();
    files.sort_unstable();
    if let Some(name) = &config.name {
        files.retain(|file| folder(file).split('/').any(|part| part == name));
    }
    let chosen = of_split(&files, &config.split);
    if chosen.is_empty() {
        return Err(refuse(found(&files)));
    }
    let folders: BTreeSet<&str> = chosen.iter().map(|file| folder(file)).collect();
    if folders.len() > 1 {
        let folders: Vec<_> = folders.into_iter().collect();
        return Err(refuse(format!("files lie in the folders {}", folders.join(", "))));
    }
    match missing_shard(&chosen) {
        Some(missing) => Err(refuse(format!("{missing} is missing"))),
        None => Ok(chosen),
    }
}

fn list(dir: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(Error::read(dir))? {
        let path = entry.map_err(Error::read(dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        match path.is_dir() {
            true if name.starts_with('.') => {}
            true => list(&path, &format!("{prefix}{name}/"), files)?,
            false => files.push(format!("{prefix}{name}")),
        }
    }
    Ok(())
}

/// Whether it is no description such as `dataset_infos.json`, and can be read.
fn is_data(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
        && !name.starts_with('.')
        && !name.starts_with("dataset_info")
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn of_split(files: &[String], split: &str) -> Vec<String> {
    let all = || files.iter();
    if all().any(|file| Shard::parse(file).is_some()) {
        let of = |file: &&String| Shard::parse(file).is_some_and(|shard| shard.split == split);
        return all().filter(of).cloned().collect();
    }
    let named = |file: &str, split: &str| {
        file.split(|c: char| !c.is_alphanumeric()).any(|word| word == split)
    };
    match all().any(|file| SPLITS.iter().any(|split| named(file, split))) {
        false if split == "train" => files.to_vec(),
        _ => all().filter(|file| named(file, split)).cloned().collect(),
    }
}

/// A file of a numbered set: `train-00003-of-00010.parquet`, perhaps with a hash before the dot.
struct Shard<'a> {
    split: &'a str,
    index: usize,
    of: usize,
}

impl<'a> Shard<'a> {
    fn parse(file: &'a str) -> Option<Self> {
        let name = &file[folder(file).len()..];
        let name = name.trim_start_matches('/');
        let (before, after) = name.rsplit_once("-of-")?;
        let (split, index) = before.rsplit_once('-')?;
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        Some(Self { split, index: index.parse().ok()?, of: after[..end].parse().ok()? })
    }
}

/// The first file that a numbered set lacks.
fn missing_shard(files: &[String]) -> Option<String> {
    let shards: Vec<Shard<'_>> = files.iter().filter_map(|file| Shard::parse(file)).collect();
    let first = shards.first()?;
    let missing = (0..first.of).find(|index| shards.iter().all(|shard| shard.index != *index))?;
    Some(format!("file {missing:05} of {:05}", first.of))
}

/// What there is instead of what was asked for.
fn found(files: &[String]) -> String {
    const SHOWN: usize = 5;
    match files {
        [] => format!("no file ending in .{} is there", EXTENSIONS.join(", .")),
        files => {
            let shown: Vec<_> = files.iter().take(SHOWN).map(String::as_str).collect();
            let more = if files.len() > SHOWN { ", …" } else { "" };
            format!("found {}{more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(files: &[&str], config: DatasetConfig) -> Result<Vec<String>, DataError> {
        select(files.iter().map(|file| file.to_string()).collect(), &config)
    }

    fn dataset() -> DatasetConfig {
        DatasetConfig::new("org/name")
    }

    fn split(split: &str) -> DatasetConfig {
        DatasetConfig { split: split.into(), ..dataset() }
    }

    #[test]
    fn a_single_file_is_the_training_data() {
        let files = ["README.md", ".gitattributes", "MetaMathQA-395K.json", "dataset_infos.json"];
        assert_eq!(choose(&files, dataset()).unwrap(), ["MetaMathQA-395K.json"]);
        let error = choose(&files, split("test")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`org/name` has no data file for split `test`: found MetaMathQA-395K.json"
        );
        assert!(error.hint().unwrap().contains("`split`"));
    }

    #[test]
    fn splits_are_told_by_words_in_the_path() {
        let files = ["data/my_train.jsonl", "data/my_test.jsonl", "data/trained.jsonl"];
        assert_eq!(choose(&files, dataset()).unwrap(), ["data/my_train.jsonl"]);
        assert_eq!(choose(&files, split("test")).unwrap(), ["data/my_test.jsonl"]);
    }

    #[test]
    fn numbered_files_belong_to_the_split_before_the_number() {
        let files = [
            "data/train_sft-00001-of-00002-ab12.parquet",
            "data/train_sft-00000-of-00002-cd34.parquet",
            "data/train_gen-00000-of-00001.parquet",
        ];
        let sft = choose(&files, split("train_sft")).unwrap();
        assert_eq!(sft, [files[1], files[0]]);
        assert!(choose(&files, dataset()).is_err());
        let error = choose(&files[1..], split("train_sft")).unwrap_err().to_string();
        assert!(error.ends_with("file 00001 of 00002 is missing"), "{error}");
    }

    #[test]
    fn configurations_are_folders() {
        let files = ["main/train-00000-of-00001.parquet", "socratic/train-00000-of-00001.parquet"];
        let error = choose(&files, dataset()).unwrap_err().to_string();
        assert!(error.ends_with("files lie in the folders main, socratic"), "{error}");
        let main = DatasetConfig { name: Some("main".into()), ..dataset() };
        assert_eq!(choose(&files, main).unwrap(), [files[0]]);
        let none = DatasetConfig { name: Some("other".into()), ..dataset() };
        let error = choose(&files, none).unwrap_err().to_string();
        assert!(
            error.ends_with("no file ending in .jsonl, .json, .csv, .parquet is there"),
            "{error}"
        );
    }

    #[test]
    fn folders_are_searched_in_depth() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/.git")).unwrap();
        for file in ["data/b.jsonl", "data/a.parquet", "data/.git/c.jsonl", "notes.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let files = in_folder(dir.path(), &dataset()).unwrap();
        assert_eq!(files, ["data/a.parquet", "data/b.jsonl"].map(|file| dir.path().join(file)));
        assert!(in_folder(Path::new("/nowhere"), &dataset()).is_err());
    }
}
