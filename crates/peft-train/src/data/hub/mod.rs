//! Datasets in the Hugging Face cache of this machine.

#[cfg(feature = "hub")]
mod fetch;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{DataError, DatasetConfig, files};
use crate::Error;

/// Where datasets of the Hugging Face hub are kept on this machine. What is there is used as it is;
/// with the feature `hub`, what is not is fetched, unless the cache is offline.
#[derive(Clone, Debug)]
pub struct Hub {
    cache: PathBuf,
    offline: bool,
    #[cfg(feature = "hub")]
    remote: fetch::Remote,
}

impl Hub {
    /// The cache the environment names, as for Hugging Face's own programs: `HF_HUB_CACHE`, or
    /// `hub` in `HF_HOME`, by default `~/.cache/huggingface`. `HF_HUB_OFFLINE=1` keeps it offline.
    /// Where something is fetched, `HF_TOKEN` and `HF_ENDPOINT` count, too.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let path = |name| set(name).map(PathBuf::from);
        let cache = path("HF_HUB_CACHE").unwrap_or_else(|| {
            let home = || std::env::home_dir().unwrap_or_default().join(".cache");
            let cache_home = || path("XDG_CACHE_HOME").unwrap_or_else(home);
            path("HF_HOME").unwrap_or_else(|| cache_home().join("huggingface")).join("hub")
        });
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| {
            let value = value.to_string_lossy().to_lowercase();
            ["1", "on", "yes", "true"].contains(&&*value)
        });
        Self {
            cache,
            offline,
            #[cfg(feature = "hub")]
            remote: fetch::Remote::from_variables(variable),
        }
    }

    /// The cache in the folder `cache`, which holds `datasets--org--name` folders; nothing is
    /// fetched.
    pub fn offline(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            offline: true,
            #[cfg(feature = "hub")]
            remote: fetch::Remote::default(),
        }
    }

    /// The data files of the dataset that `config` names.
    ///
    /// # Errors
    /// [`DataError::NotCached`] or [`DataError::Fetch`] where it is not to be had,
    /// [`DataError::NoDataFiles`] where it has no file of the split.
    pub(super) fn dataset(&self, config: &DatasetConfig) -> Result<Vec<PathBuf>, Error> {
        let cached = self.cached(config);
        #[cfg(feature = "hub")]
        if cached.is_err() && !self.offline {
            self.remote.fetch(&self.cache, config)?;
            return self.cached(config);
        }
        cached
    }

    fn cached(&self, config: &DatasetConfig) -> Result<Vec<PathBuf>, Error> {
        let not_cached = |reason: String| DataError::NotCached {
            repo: config.path.clone(),
            revision: config.revision.clone(),
            cache: self.cache.clone(),
            reason,
            instead: self.instead(),
        };
        let folder = repo_folder(&self.cache, "datasets", &config.path);
        if !folder.is_dir() {
            return Err(not_cached("it was never fetched".into()).into());
        }
        let Some(snapshot) = snapshot(&folder, &config.revision) else {
            return Err(not_cached("no snapshot of this revision is there".into()).into());
        };
        let listed = std::fs::read_to_string(listing(&folder, &snapshot)).unwrap_or_default();
        let names: BTreeSet<_> =
            files::names(&snapshot)?.into_iter().chain(listed.lines().map(String::from)).collect();
        let chosen = match files::select(names.into_iter().collect(), config) {
            // The snapshot may lack what was never asked for.
            Err(DataError::NoDataFiles { reason, .. }) => {
                let reason = format!("no data file for split `{}`, {reason}", config.split);
                return Err(not_cached(reason).into());
            }
            chosen => chosen?,
        };
        match chosen.iter().find(|file| !snapshot.join(file).exists()) {
            Some(missing) => Err(not_cached(format!("`{missing}` was not fetched")).into()),
            None => Ok(chosen.iter().map(|file| snapshot.join(file)).collect()),
        }
    }

    /// The folder of the model `name`, `org/name`, if its main branch is in the cache.
    pub(crate) fn model(&self, name: &str) -> Option<PathBuf> {
        let folder = snapshot(&repo_folder(&self.cache, "models", name), "main")?;
        folder.join("config.json").exists().then_some(folder)
    }

    /// What to do about a dataset that is not in the cache.
    fn instead(&self) -> &'static str {
        match (cfg!(feature = "hub"), self.offline) {
            (true, true) => "unset HF_HUB_OFFLINE to have it fetched, or give the path of a file",
            (true, false) => "name one of its splits as `split`, or one of its folders as `name`",
            (false, _) => {
                "this build has no feature `hub`: fetch it by `hf download --repo-type dataset`, \
                 or give the path of a file"
            }
        }
    }
}

/// Names of all files of a dataset, one in a line, for the commit whose snapshot is given: written before
/// any of them is fetched, so that a part is never taken for the whole.
fn listing(repo: &Path, snapshot: &Path) -> PathBuf {
    repo.join(".listings").join(snapshot.file_name().unwrap_or_default())
}

fn repo_folder(cache: &Path, kind: &str, name: &str) -> PathBuf {
    cache.join(format!("{kind}--{}", name.replace('/', "--")))
}

/// The files of a revision: a branch, a tag or a commit.
fn snapshot(repo: &Path, revision: &str) -> Option<PathBuf> {
    let commit = std::fs::read_to_string(repo.join("refs").join(revision));
    let commit = commit.unwrap_or_else(|_| revision.into());
    Some(repo.join("snapshots").join(commit.trim())).filter(|snapshot| snapshot.is_dir())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;

    /// A cache as `huggingface_hub` lays it out: files are links to blobs.
    fn cache(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("datasets--org--name");
        let snapshot = repo.join("snapshots/abc123");
        for folder in [repo.join("refs"), repo.join("blobs"), snapshot.clone()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(repo.join("refs/main"), "abc123").unwrap();
        for (index, (file, content)) in files.iter().enumerate() {
            let (blob, link) = (repo.join(format!("blobs/{index}")), snapshot.join(file));
            std::fs::write(&blob, content).unwrap();
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink(&blob, link).unwrap();
            #[cfg(not(unix))]
            std::fs::copy(&blob, link).map(drop).unwrap();
        }
        dir
    }

    fn dataset() -> DatasetConfig {
        DatasetConfig::new("org/name")
    }

    #[test]
    fn the_environment_says_where_the_cache_is() {
        let hub = |variables: &[(&str, &str)]| {
            let variables: HashMap<&str, &str> = variables.iter().copied().collect();
            Hub::from_variables(|name| variables.get(name).map(OsString::from))
        };
        let home = std::env::home_dir().unwrap();
        assert_eq!(hub(&[]).cache, home.join(".cache/huggingface/hub"));
        let all = [("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(hub(&all).cache, Path::new("/a"));
        assert_eq!(hub(&all[1..]).cache, Path::new("/b/hub"));
        assert_eq!(hub(&all[2..]).cache, Path::new("/c/huggingface/hub"));
        for (value, offline) in [("1", true), ("True", true), ("0", false), ("", false)] {
            assert_eq!(hub(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
    }

    #[test]
    fn a_cached_dataset_needs_no_network() {
        let dir = cache(&[("README.md", ""), ("data/train.jsonl", "{\"text\":\"a\"}")]);
        let hub = Hub::offline(dir.path());
        let snapshot = dir.path().join("datasets--org--name/snapshots/abc123");
        let by_commit = DatasetConfig { revision: "abc123".into(), ..dataset() };
        for config in [dataset(), by_commit] {
            let files = hub.dataset(&config).unwrap();
            assert_eq!(files, [snapshot.join("data/train.jsonl")]);
            assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), "{\"text\":\"a\"}");
        }
    }

    #[test]
    fn a_split_that_was_not_fetched_to_its_end_is_not_taken() {
        let dir = cache(&[("train/a.jsonl", "{\"text\":\"a\"}"), ("test/a.jsonl", "")]);
        let listings = dir.path().join("datasets--org--name/.listings");
        std::fs::create_dir(&listings).unwrap();
        let all = "train/a.jsonl\ntest/a.jsonl\ntest/b.jsonl\n";
        std::fs::write(listings.join("abc123"), all).unwrap();
        let hub = Hub::offline(dir.path());
        assert_eq!(hub.dataset(&dataset()).unwrap().len(), 1);
        let test = DatasetConfig { split: "test".into(), ..dataset() };
        let error = hub.dataset(&test).unwrap_err().to_string();
        assert!(error.contains("`test/b.jsonl` was not fetched"), "{error}");
    }

    #[test]
    fn a_model_is_the_snapshot_of_its_main_branch() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::offline(dir.path());
        let repo = dir.path().join("models--org--name");
        let snapshot = repo.join("snapshots/abc123");
        std::fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(hub.model("org/name"), None);
        std::fs::create_dir(repo.join("refs")).unwrap();
        std::fs::write(repo.join("refs/main"), "abc123").unwrap();
        assert_eq!(hub.model("org/name"), None, "nothing was fetched");
        std::fs::write(snapshot.join("config.json"), "{}").unwrap();
        assert_eq!(hub.model("org/name"), Some(snapshot));
    }

    #[test]
    fn what_the_cache_lacks_is_said() {
        let shards = ["train-00000-of-00002.parquet", "train-00002-of-00002.parquet"];
        let dir = cache(&shards.map(|shard| (shard, "")));
        let hub = Hub::offline(dir.path());
        let other = DatasetConfig::new("org/other");
        let revision = DatasetConfig { revision: "v2".into(), ..dataset() };
        let test = DatasetConfig { split: "test".into(), ..dataset() };
        let cases = [
            (other, "it was never fetched"),
            (revision, "no snapshot of this revision is there"),
            (test, "no data file for split `test`, found train-00000-of-00002.parquet"),
            (dataset(), "no data file for split `train`, file 00001 of 00002 is missing"),
        ];
        for (config, expected) in cases {
            let error = hub.dataset(&config).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.to_string().starts_with(&format!("dataset `{}` ", config.path)));
            let hint = error.hint().unwrap();
            let expected = if cfg!(feature = "hub") { "HF_HUB_OFFLINE" } else { "feature `hub`" };
            assert!(hint.contains(expected), "{hint}");
        }
    }
}
