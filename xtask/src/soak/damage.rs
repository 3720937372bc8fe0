//! Damage to a checkpoint, as disks and people do it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rand::{Rng, RngExt};

const MANIFEST: &str = "manifest.json";

/// Flips a bit of a file of the checkpoint, cuts one, or deletes the manifest. Returns what was
/// done.
pub fn damage(checkpoint: &Path, rng: &mut impl Rng) -> io::Result<String> {
    let file = any_file(checkpoint, rng)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match rng.random_range(0..3) {
        0 => flip(&file, rng).map(|()| format!("(bit of {name})")),
        1 => cut(&file, rng).map(|()| format!("(cut {name})")),
        _ => fs::remove_file(checkpoint.join(MANIFEST)).map(|()| format!("(no {MANIFEST})")),
    }
}

/// In an order that depends on the names alone.
fn any_file(dir: &Path, rng: &mut impl Rng) -> io::Result<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        files.push(entry?.path());
    }
    files.sort();
    match files.is_empty() {
        true => Err(io::Error::other(format!("`{}` is empty", dir.display()))),
        false => Ok(files.swap_remove(rng.random_range(0..files.len()))),
    }
}

fn flip(file: &Path, rng: &mut impl Rng) -> io::Result<()> {
    let mut bytes = fs::read(file)?;
    let at = rng.random_range(0..bytes.len());
    bytes[at] ^= 1 << rng.random_range(0..8);
    fs::write(file, bytes)
}

fn cut(file: &Path, rng: &mut impl Rng) -> io::Result<()> {
    let length = rng.random_range(0..fs::metadata(file)?.len());
    OpenOptions::new().write(true).open(file)?.set_len(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_damage_changes_exactly_one_file() {
        let names = [MANIFEST, "state.safetensors"];
        for seed in 0..32 {
            let dir = tempfile::tempdir().unwrap();
            let paths = names.map(|name| dir.path().join(name));
            paths.iter().for_each(|path| fs::write(path, "content").unwrap());
            let done = damage(dir.path(), &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            let changed = |path: &&PathBuf| fs::read(path).ok().as_deref() != Some(b"content");
            let changed: Vec<_> = paths.iter().filter(changed).collect();
            let [changed] = changed[..] else { panic!("{done}: {changed:?}") };
            assert!(done.contains(changed.file_name().unwrap().to_str().unwrap()), "{done}");
        }
    }
}
