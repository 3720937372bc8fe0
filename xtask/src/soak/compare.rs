//! Whether two runs left the same.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::task::STEPS;

/// Files of a checkpoint that hold the identities of densely trained parameters, or hash what does. Burn
/// gives new ones in every process that begins a run.
const IDENTIFIED: [&str; 4] = ["manifest.json", "manifest.sha256", "optimizer.bpk", "state.json"];

/// The first file of the merged model, the adapter or the last checkpoint (with all moments) in
/// which the run in `got` differs from the one in `want`. Of a run without an adapter, in which all is
/// trained densely, what has identities in it is left out.
pub fn difference(want: &Path, got: &Path) -> io::Result<Option<String>> {
    let last = format!("checkpoint-{STEPS}");
    let is_dense = !want.join("adapter").exists();
    let is_left_out = |name: &OsString| is_dense && IDENTIFIED.iter().any(|file| name == file);
    for folder in ["final", "adapter", &last] {
        let [want, got] = [want, got].map(|run| run.join(folder));
        let (want_names, got_names) = (names(&want)?, names(&got)?);
        if let Some(name) = want_names.symmetric_difference(&got_names).next() {
            return Ok(Some(format!("one run has `{folder}/{}` alone", name.display())));
        }
        for name in want_names.iter().filter(|name| !is_left_out(name)) {
            let [a, b] = [&want, &got].map(|dir| fs::read(dir.join(name)));
            if !same(&a?, &b?) {
                let file = got.join(name);
                return Ok(Some(format!(
                    "`{}` differs from the undisturbed run's",
                    file.display()
                )));
            }
        }
    }
    Ok(None)
}

/// The same bytes, but for the order of what a safetensors file says of itself, which is not fixed.
fn same(a: &[u8], b: &[u8]) -> bool {
    a == b || safetensors(a).zip(safetensors(b)).is_some_and(|(a, b)| a == b)
}

/// Header and values of a safetensors file.
fn safetensors(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let (length, _) = SafeTensors::read_metadata(bytes).ok()?;
    let (header, values) = bytes.get(8..)?.split_at_checked(length)?;
    Some((serde_json::from_slice(header).ok()?, values))
}

/// None where there is no folder, as full fine-tuning has none for an adapter.
fn names(dir: &Path) -> io::Result<BTreeSet<OsString>> {
    if !dir.exists() {
        return Ok(BTreeSet::new());
    }
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn run(last: &str) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["final", "adapter", &format!("checkpoint-{STEPS}")] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("file"), last).unwrap();
        }
        dir
    }

    #[test]
    fn other_bytes_and_other_files_are_a_difference() {
        let (want, got) = (run("a"), run("a"));
        let difference = || difference(want.path(), got.path()).unwrap();
        assert_eq!(difference(), None);
        fs::write(got.path().join("adapter/more"), "").unwrap();
        assert!(difference().unwrap().contains("more"));
        fs::write(got.path().join("final/file"), "b").unwrap();
        assert!(difference().unwrap().contains("final"));
    }

    #[test]
    fn identities_differ_where_all_is_trained_densely() {
        let (want, got) = (run("a"), run("a"));
        let difference = || difference(want.path(), got.path()).unwrap();
        let last = got.path().join(format!("checkpoint-{STEPS}"));
        for dir in [&want.path().join(format!("checkpoint-{STEPS}")), &last] {
            fs::write(dir.join("optimizer.bpk"), dir.display().to_string()).unwrap();
        }
        assert!(difference().unwrap().contains("optimizer.bpk"));
        for run in [&want, &got] {
            fs::remove_dir_all(run.path().join("adapter")).unwrap();
        }
        assert_eq!(difference(), None);
        fs::write(last.join("file"), "b").unwrap();
        assert!(difference().unwrap().contains("file"));
    }

    #[test]
    fn safetensors_may_say_the_same_in_another_order() {
        let file = |header: &str, value: u8| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.push(value);
            bytes
        };
        let tensor = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
        let one = format!(r#"{{"__metadata__":{{"x":"1","y":"2"}},{tensor}}}"#);
        let other = format!(r#"{{"__metadata__":{{"y":"2","x":"1"}},{tensor}}}"#);
        assert!(same(&file(&one, 7), &file(&other, 7)));
        assert!(!same(&file(&one, 7), &file(&other, 8)));
        assert!(!same(&file(&one, 7), &file(&other.replace("2", "3"), 7)));
    }
}
