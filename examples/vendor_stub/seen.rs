//! What is remembered of requests.

use std::time::Instant;

use sha2::{Digest, Sha256};

/// What is remembered of a request; nothing of it is secret.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `live_config/set_callback`.
    pub(crate) path: String,
    pub(crate) random: u32,
    /// The hash of the signature.
    pub(crate) usersig: String,
    pub(crate) at: Instant,
    /// The code that it was answered with, 0 where it went well; absent where it had none.
    pub(crate) code: Option<i64>,
}

impl Seen {
    /// `set_callback`.
    pub(crate) fn action(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }
}

impl Seen {
    pub(super) fn new(path: &str, query: &[(String, String)]) -> Self {
        let value = |name: &str| {
            query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
        };
        Self {
            path: path.trim_start_matches("/v4/").to_owned(),
            random: value("random").parse().unwrap_or_default(),
            usersig: hex::encode(Sha256::digest(value("usersig"))),
            at: Instant::now(),
            code: None,
        }
    }
}
