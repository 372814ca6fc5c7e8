//! The result of sending one event once.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::diagnostic::Hint;

use super::blocked_address::BlockedAddress;
use crate::answer::{self, Response};

/// One try to deliver.
///
/// There may be both a status and a failure: an answer that began and did not end, or one that is a failure for what it is (a
/// redirect).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The status of the answer; absent where none came.
    pub status: Option<u16>,
    /// The header `Retry-After` as it was sent, shortened.
    pub retry_after: Option<String>,
    /// The beginning of the answer's body, at most [`EXCERPT_BYTES_MAX`](super::EXCERPT_BYTES_MAX) as text. Headers marked as
    /// sensitive and the URL's path and query are taken out where the receiver repeats them; it is not escaped.
    pub excerpt: String,
    /// Whether the answer was longer than [`ANSWER_BYTES_MAX`](super::ANSWER_BYTES_MAX), and the rest was not read.
    pub is_truncated: bool,
    /// From the call until the answer was read, or the failure.
    pub duration: Duration,
    /// Who answered: the destination, or the proxy on the way there.
    pub peer: Option<SocketAddr>,
    /// The version of HTTP that was answered in, `HTTP/1.1` for example.
    pub version: Option<&'static str>,
    /// What went wrong on the way; absent where a whole answer came, whatever its status.
    pub failure: Option<Failure>,
}

impl Attempt {
    /// What it is to those that decide what follows: the status, where a whole answer came or the status says all; else why there
    /// is none. A success that broke off is none: the receiver may not have kept the event.
    #[must_use]
    pub fn response(&self) -> Response<'_> {
        let class = self.failure.as_ref().map(|failure| failure.class);
        match (self.status, class) {
            (Some(200..=299) | None, Some(class)) => Response::Failure(class.into()),
            (Some(status), _) => {
                Response::Status { status, retry_after: self.retry_after.as_deref() }
            }
            (None, None) => Response::Failure(answer::Failure::Reset),
        }
    }
}

/// What it is to those that decide what follows.
impl From<FailureClass> for answer::Failure {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Timeout => Self::Timeout,
            FailureClass::Connect => Self::Connect,
            FailureClass::Dns => Self::Dns,
            FailureClass::Tls => Self::Tls,
            FailureClass::BlockedAddress => Self::BlockedAddress,
            // There is a status beside a redirect, which is judged in its place. What is too large is the answer, not the event.
            FailureClass::Redirect | FailureClass::TooLarge | FailureClass::Reset => Self::Reset,
        }
    }
}

/// What went wrong on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its class.
    pub class: FailureClass,
    /// What the library or the system says, without the URL.
    pub detail: String,
    /// What to do, where it is known better than by the class.
    pub(crate) hint: Option<String>,
    /// Whether it went wrong before anything was sent, so that the receiver knows nothing of it.
    pub(crate) is_unsent: bool,
}

/// Classes of failures on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// No connection, or no whole answer, in time.
    Timeout,
    /// There is no connection: refused or unreachable.
    Connect,
    /// The name has no address, or could not be looked up.
    Dns,
    /// The TLS of one side refuses the other's.
    Tls,
    /// The answer is a redirect, which is not followed.
    Redirect,
    /// The egress guard refuses the address.
    BlockedAddress,
    /// The head of the answer is longer than any should be.
    TooLarge,
    /// The connection broke before the answer was whole, or what came is not HTTP.
    Reset,
}

impl FailureClass {
    /// What it means, in a few words.
    fn meaning(self) -> &'static str {
        match self {
            Self::Timeout => "no answer in time",
            Self::Connect => "no connection",
            Self::Dns => "no address",
            Self::Tls => "no trust by TLS",
            Self::Redirect => "redirect, not followed",
            Self::BlockedAddress => "address not allowed",
            Self::TooLarge => "head of the answer too large",
            Self::Reset => "connection broken",
        }
    }
}

impl Failure {
    pub(crate) fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        let is_unsent = matches!(
            class,
            FailureClass::Connect | FailureClass::Dns | FailureClass::BlockedAddress
        );
        Self { class, detail: detail.into(), hint: None, is_unsent }
    }

    /// The guard lets through to none of the host's addresses.
    pub(crate) fn blocked(address: &BlockedAddress) -> Self {
        let failure = Self::new(FailureClass::BlockedAddress, address.to_string());
        Self { hint: address.hint(), ..failure }
    }

    /// Whether it went wrong before anything was sent, so that the receiver knows nothing of it.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.is_unsent
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.meaning(), self.detail)
    }
}

impl std::error::Error for Failure {}

impl Hint for Failure {
    fn hint(&self) -> Option<String> {
        if self.hint.is_some() {
            return self.hint.clone();
        }
        let hint = match self.class {
            FailureClass::Timeout => {
                "does the receiver answer before it does its work? see `timeout_ms`"
            }
            FailureClass::Connect => "is the receiver up, and may this machine reach it?",
            FailureClass::Dns => "is the name right, and does this machine resolve it?",
            FailureClass::Tls => {
                "see `tls_ca`, `tls_certificate` and `tls_key`; has a certificate expired?"
            }
            FailureClass::Redirect => "put the new URL into the configuration",
            FailureClass::BlockedAddress => "see `forwarding.allow_networks`",
            FailureClass::TooLarge | FailureClass::Reset => {
                "is this the receiver's port, and is a proxy before it?"
            }
        };
        Some(hint.to_owned())
    }
}
