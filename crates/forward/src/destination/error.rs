//! What is wrong with the configuration of a destination.

use protocol::diagnostic::{Diagnostic, Hint};

/// What is wrong, of which destination and key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key `forward.{key}` of destination `{destination}`: {}", .found.problem)]
pub struct DestinationError {
    /// The name of the destination.
    pub destination: String,
    /// The key.
    pub key: &'static str,
    /// What is wrong with it, and what to do.
    pub found: Diagnostic,
}

impl Hint for DestinationError {
    fn hint(&self) -> Option<String> {
        self.found.hint.clone()
    }
}
