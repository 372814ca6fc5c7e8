//! What a token allows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a token allows. Each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "snake_case")]
pub enum Scope {
    /// `/metrics`.
    Metrics,
    /// The dashboard, the API and the live tail.
    Read,
    /// Whole lists at once, as CSV and NDJSON.
    Export,
    /// Everything, also what changes something.
    Admin,
}

impl Scope {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Metrics, Self::Read, Self::Export, Self::Admin];

    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Read => "read",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Scope {
    type Error = &'static str;

    // What stands there is not repeated: it may be a token in the wrong place.
    fn try_from(word: String) -> Result<Self, Self::Error> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == word);
        named.ok_or("a scope is metrics, read, export or admin")
    }
}
