//! Secrets in files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use secrecy::SecretString;

use protocol::diagnostic::Hint;

/// A longer file holds no key and no token. In bytes.
const SECRET_BYTES_MAX: u64 = 4096;

/// Why a file does not give its secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SecretFileError {
    place: String,
    problem: String,
}

impl Hint for SecretFileError {
    fn hint(&self) -> Option<String> {
        Some("name a file that holds the secret and nothing else".to_owned())
    }
}

/// Reads a secret that a file holds, without the line's end behind it.
///
/// # Errors
/// The file cannot be read, or is too long to hold a secret.
pub fn read_secret(path: &Path) -> Result<SecretString, SecretFileError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
        let most = usize::try_from(SECRET_BYTES_MAX).unwrap_or(usize::MAX);
        let too_long = || io::Error::other("it is too long");
        if text.len() > most { Err(too_long()) } else { Ok(()) }
    });
    let text = SecretString::from(text.trim_end_matches(['\r', '\n']));
    match read {
        Ok(()) => Ok(text),
        Err(error) => Err(SecretFileError { place: shown_path(path), problem: error.to_string() }),
    }
}

/// The path, unless it looks as if the secret itself stood in its place.
pub(crate) fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_path = text.contains(['/', '\\', '.']) || text.len() < 16;
    if is_path { format!("`{text}`") } else { "(name not shown)".to_owned() }
}
