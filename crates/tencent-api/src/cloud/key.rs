//! The key of a cloud account.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use protocol::diagnostic::Hint;

/// The longest id or key that is taken, in bytes. The vendor's have 32 to 36.
const BYTES_MAX: usize = 256;

/// An API key of a cloud account: `SecretId` and `SecretKey`.
#[derive(Clone)]
pub struct CloudKey {
    pub(crate) id: SecretString,
    pub(crate) key: SecretString,
}

impl CloudKey {
    /// Takes the pair, if both can be parts of a signed request.
    ///
    /// # Errors
    /// One of them is empty, too long, or has letters that no key has.
    pub fn new(id: SecretString, key: SecretString) -> Result<Self, CloudKeyError> {
        // The id stands in a header, between `=` and `/`.
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
        if !is_made_of(&id, is_id) {
            return Err(CloudKeyError("SecretId"));
        }
        if !is_made_of(&key, |byte| byte.is_ascii_graphic()) {
            return Err(CloudKeyError("SecretKey"));
        }
        Ok(Self { id, key })
    }
}

fn is_made_of(secret: &SecretString, takes: impl Fn(u8) -> bool) -> bool {
    let text = secret.expose_secret();
    (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(takes)
}

impl fmt::Debug for CloudKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudKey").finish_non_exhaustive()
    }
}

/// The text is no id or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} is empty, or has letters that none has")]
pub struct CloudKeyError(&'static str);

impl Hint for CloudKeyError {
    fn hint(&self) -> Option<String> {
        let hint = "copy SecretId and SecretKey of an API key from console.tencentcloud.com/cam/capi, without quotes or spaces";
        Some(hint.to_owned())
    }
}
