//! Why a call failed, and what to do about it.

use std::fmt;
use std::time::Duration;

use crate::error_codes;
use crate::error_codes::Retry;
use crate::registration::product::Product;
use crate::usersig::UserSigError;
use protocol::diagnostic::Hint;

/// Which call it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Whose configuration it is about; absent for calls that are of no product.
    pub product: Option<Product>,
    /// The last part of the API's path, `set_callback` for example.
    pub name: &'static str,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.product {
            Some(product) => write!(f, "{product} {}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// A call that failed. It never holds a key, a `UserSig` or a token.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.text())]
pub struct VendorError {
    /// Which call.
    pub action: Action,
    /// The host that was called.
    pub host: String,
    /// How often it was called; 0 when it was not.
    pub tries: u32,
    /// The vendor's name for the last try, to be given to its support; absent where the answer had none.
    pub request_id: Option<String>,
    /// What went wrong, at the last try.
    pub failure: Failure,
}

/// What went wrong with one try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The vendor says no.
    Refused {
        /// Its `ErrorCode`.
        code: i64,
        /// Its `ErrorInfo`, shortened; often empty.
        info: String,
    },
    /// The answer has another HTTP status than 200, the only one that the vendor's API gives.
    Status(u16),
    /// There was no connection, or it broke.
    Unreachable(String),
    /// No whole answer came within this time.
    TimedOut(Duration),
    /// The answer is not what the vendor documents: where it differs.
    NotUnderstood(String),
    /// The answer is longer than this many bytes.
    TooLarge(usize),
    /// No `UserSig` can be made.
    Unsigned(UserSigError),
    /// The product has no such call.
    NoSuchAction,
    /// The token has no sensible length, or nothing is to be changed.
    TokenUnfit,
    /// Somebody else kept changing the configuration meanwhile, this many times.
    Contended(u32),
}

impl Failure {
    /// The vendor's code; absent where the failure is not of its making.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether to try once more.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Refused { code, .. } => {
                error_codes::find(*code).map_or(Retry::Never, |row| row.retry)
            }
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Status(500..=599) => Retry::Soon,
            Self::Status(429) => Retry::Slowly,
            _ => Retry::Never,
        }
    }

    /// What went wrong, without a hint.
    pub(crate) fn meaning(&self) -> String {
        match self {
            Self::Refused { code, info } => {
                let meaning = error_codes::find(*code)
                    .map_or("a code that is not documented", |row| row.meaning);
                let said = if info.is_empty() { String::new() } else { format!(" (`{info}`)") };
                format!("code {code}: {meaning}{said}")
            }
            Self::Status(status) => format!("answered with HTTP status {status}"),
            Self::Unreachable(reason) => format!("cannot be reached: {reason}"),
            Self::TimedOut(after) => format!("no answer within {after:.1?}"),
            Self::NotUnderstood(what) => format!("the answer is not the vendor's: {what}"),
            Self::TooLarge(most) => format!("the answer is longer than {most} bytes"),
            Self::Unsigned(error) => error.to_string(),
            Self::NoSuchAction => "the vendor has no such call for this product".to_owned(),
            Self::TokenUnfit => "a token has 1 to 128 characters".to_owned(),
            Self::Contended(times) => {
                format!("somebody else changed the configuration meanwhile, {times} times")
            }
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Refused { code, .. } => error_codes::find(*code)
                .map_or("look the code up in the vendor's list, trtc.io/document/34348", |row| {
                    row.hint
                }),
            Self::Status(300..=399 | 404) | Self::NotUnderstood(_) | Self::TooLarge(_) => {
                "is this the vendor's host? see `--region` and `--host`; a proxy may have answered"
            }
            Self::Status(_) => {
                "a proxy may have answered in the vendor's place; otherwise try again later"
            }
            Self::Unreachable(_) => {
                "is the host right (`--region`, `--host`), and may this machine reach it on port 443?"
            }
            Self::TimedOut(_) => "try again later; is the network slow, or a firewall on the way?",
            Self::Unsigned(error) => return error.hint().unwrap_or_default(),
            Self::NoSuchAction => "for `call`, `set_callback` also replaces what exists",
            Self::TokenUnfit => {
                "give such a token, or say whether callbacks are to be signed, or both"
            }
            Self::Contended(_) => {
                "find out who else registers callbacks for this app, and try again"
            }
        };
        hint.to_owned()
    }
}

impl VendorError {
    /// The vendor's code; absent where the failure is not of its making.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        self.failure.code()
    }

    fn text(&self) -> String {
        let mut notes = Vec::new();
        notes.extend(self.request_id.as_ref().map(|id| format!("RequestId {id}")));
        notes.extend((self.tries > 1).then(|| format!("{} tries", self.tries)));
        let notes =
            if notes.is_empty() { String::new() } else { format!(" [{}]", notes.join(", ")) };
        let Self { action, host, failure, .. } = self;
        format!("{action} at {host}: {}{notes}", failure.meaning())
    }
}

impl Hint for VendorError {
    fn hint(&self) -> Option<String> {
        Some(self.failure.hint())
    }
}
