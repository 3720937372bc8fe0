//! SHA-256 of files, and in hexadecimal digits.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;

/// Two digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the content of the file at `path` to `hash`, a piece at a time, and returns its length.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn add_file(hash: &mut Sha256, path: &Path) -> Result<u64, Error> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let (mut size, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(Error::read(path))? {
            0 => return Ok(size),
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_as_its_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let mut hash = Sha256::new();
        assert_eq!(add_file(&mut hash, file.path()).unwrap(), 3);
        // FIPS 180-4's example.
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&hash.finalize()), want);
        let error = add_file(&mut Sha256::new(), Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}
