//! Fetching from the Hugging Face hub into the cache.

use std::ffi::OsString;
use std::path::{Component, Path};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use super::{listing, repo_folder};
use crate::Error;
use crate::data::{DataError, DatasetConfig, files};
use crate::report::write_atomic;

/// Where the hub is, and as whom to ask.
#[derive(Clone, Default)]
pub struct Remote {
    endpoint: Option<String>,
    token: Option<String>,
}

impl Remote {
    /// The endpoint of `HF_ENDPOINT` and the token of `HF_TOKEN`, where they are set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let set = |name| text(name).filter(|value| !value.is_empty());
        Self { endpoint: set("HF_ENDPOINT"), token: set("HF_TOKEN") }
    }

    /// Downloads the files of the dataset that `config` names into `cache`.
    ///
    /// # Errors
    /// [`DataError::Fetch`], and [`DataError::NoDataFiles`] where the dataset has no file of the
    /// split.
    pub fn fetch(&self, cache: &Path, config: &DatasetConfig) -> Result<(), Error> {
        let failed = |e: ApiError| DataError::Fetch {
            repo: config.path.clone(),
            revision: config.revision.clone(),
            reason: e.to_string(),
        };
        // Without a token of its own, the client takes the one that `hf auth login` left there.
        let mut builder = ApiBuilder::from_cache(Cache::new(cache.into())).with_progress(false);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        if self.token.is_some() {
            builder = builder.with_token(self.token.clone());
        }
        let (id, revision) = (config.path.clone(), config.revision.clone());
        let repo = Repo::with_revision(id, RepoType::Dataset, revision);
        let api = builder.build().map_err(failed)?.repo(repo);
        let info = api.info().map_err(failed)?;
        let names = info.siblings.into_iter().map(|sibling| sibling.rfilename);
        let names: Vec<String> = names.filter(|file| stays_inside(file)).collect();
        let repo = repo_folder(cache, "datasets", &config.path);
        let listing = listing(&repo, Path::new(&info.sha));
        let folder = listing.parent().unwrap_or(&repo);
        std::fs::create_dir_all(folder).map_err(Error::write(folder))?;
        write_atomic(&listing, names.join("\n").as_bytes())?;
        for file in files::select(names, config)? {
            api.get(&file).map_err(failed)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Remote {
    /// Says whether there is a token, not which.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Remote").field("endpoint", &self.endpoint).field("token", &token).finish()
    }
}

/// Whether a path that a server names stays below the folder it is put into.
fn stays_inside(file: &str) -> bool {
    Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::data::Hub;

    const CONTENT: &str = "{\"text\":\"from afar\"}\n";

    /// A hub with one dataset; says what it was asked for, and by whom.
    fn serve() -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (log, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
                let head: Vec<String> =
                    lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap().to_string();
                let has = |text: &str| head.iter().any(|line| line.to_lowercase().contains(text));
                if log.send(format!("{path} {}", has("bearer secret"))).is_err() {
                    return;
                }
                answer(&mut stream, &path, has("bytes=0-0"));
            }
        });
        (address, asked)
    }

    fn answer(stream: &mut TcpStream, path: &str, first_byte_only: bool) {
        let (status, body) = match path {
            "/api/datasets/org/name/revision/main" => {
                let files = [
                    "../escape.jsonl",
                    "README.md",
                    "data/train.jsonl",
                    "data/test.jsonl",
                    "dev/absent.jsonl",
                ];
                let siblings = files.map(|file| serde_json::json!({"rfilename": file}));
                ("200 OK", serde_json::json!({"sha": "c0ffee", "siblings": siblings}).to_string())
            }
            "/datasets/org/name/resolve/main/data/train.jsonl" if first_byte_only => {
                ("206 Partial Content", CONTENT[..1].into())
            }
            "/datasets/org/name/resolve/main/data/train.jsonl" => ("200 OK", CONTENT.into()),
            _ => ("404 Not Found", String::new()),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes 0-0/{}\r\n\
             ETag: \"e7a9\"\r\nX-Repo-Commit: c0ffee\r\nConnection: close\r\n\r\n{body}",
            body.len(),
            CONTENT.len(),
        );
    }

    fn hub(endpoint: String, cache: &Path) -> Hub {
        let remote = Remote { endpoint: Some(endpoint), token: Some("secret".into()) };
        Hub { offline: false, remote, ..Hub::offline(cache) }
    }

    #[test]
    fn what_is_not_cached_is_fetched_once() {
        let (endpoint, asked) = serve();
        let cache = tempfile::tempdir().unwrap();
        let hub = hub(endpoint, cache.path());
        let config = DatasetConfig::new("org/name");
        let files = hub.dataset(&config).unwrap();
        assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), CONTENT);
        let requests: Vec<String> = asked.try_iter().collect();
        assert!(requests.iter().all(|request| request.ends_with("true")), "{requests:?}");
        assert!(requests.iter().all(|request| !request.contains("test")), "{requests:?}");

        assert_eq!(hub.dataset(&config).unwrap(), files);
        assert_eq!(Hub::offline(cache.path()).dataset(&config).unwrap(), files);
        assert_eq!(asked.try_iter().count(), 0);
        assert!(!format!("{hub:?}").contains("secret"));
    }

    #[test]
    fn a_split_whose_fetch_failed_is_not_taken_and_others_are() {
        let (endpoint, _asked) = serve();
        let cache = tempfile::tempdir().unwrap();
        let hub = hub(endpoint, cache.path());
        let train = DatasetConfig::new("org/name");
        let dev = DatasetConfig { split: "dev".into(), ..train.clone() };
        assert!(matches!(hub.dataset(&dev), Err(Error::Data(DataError::Fetch { .. }))));
        hub.dataset(&train).unwrap();
        let offline = Hub::offline(cache.path());
        offline.dataset(&train).unwrap();
        let error = offline.dataset(&dev).unwrap_err().to_string();
        assert!(error.contains("`dev/absent.jsonl` was not fetched"), "{error}");
    }

    #[test]
    fn a_failed_fetch_names_the_dataset() {
        let (endpoint, _asked) = serve();
        let cache = tempfile::tempdir().unwrap();
        let error =
            hub(endpoint, cache.path()).dataset(&DatasetConfig::new("org/none")).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("cannot fetch dataset `org/none` (revision main): "),
            "{message}"
        );
        assert!(message.contains("404"), "{message}");
        assert!(error.hint().unwrap().contains("HF_TOKEN"));
    }
}
