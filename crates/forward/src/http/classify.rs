//! From the HTTP client's errors to classes of failures. The table of [`crate::http`] says which error is which.

use std::error::Error;
use std::io;

use super::attempt::{Failure, FailureClass};
use super::blocked_address::BlockedAddress;

/// What a request failed by.
pub(crate) fn failure(error: &reqwest::Error) -> Failure {
    let causes = Causes::of(error);
    if let Some(blocked) = causes.find::<BlockedAddress>() {
        return Failure::blocked(blocked);
    }
    let is_too_large = |error: &hyper::Error| error.is_parse_too_large();
    let class = if error.is_timeout() {
        FailureClass::Timeout
    } else if causes.find::<rustls::Error>().is_some() {
        FailureClass::Tls
    } else if causes.find::<hyper::Error>().is_some_and(is_too_large) {
        FailureClass::TooLarge
    } else if error.is_dns() {
        FailureClass::Dns
    } else if error.is_connect() || error.is_builder() {
        FailureClass::Connect
    } else {
        FailureClass::Reset
    };
    let detail = match class {
        FailureClass::Timeout if error.is_connect() => "it was not connected".to_owned(),
        FailureClass::Timeout => "it was not answered to the end".to_owned(),
        _ => causes.root(),
    };
    let failure = Failure::new(class, detail);
    let is_unsent = failure.is_unsent || error.is_connect();
    Failure { is_unsent, ..failure }
}

/// What happened, without what it happened to.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    Causes::of(error).root()
}

/// An error's causes, the nearest first.
struct Causes<'a>(Vec<&'a (dyn Error + 'static)>);

impl<'a> Causes<'a> {
    fn of(error: &'a (dyn Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause);
            // What an I/O error wraps is not its source: that is the source of what it wraps.
            let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match wrapped {
                Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
                None => cause.source(),
            };
        }
        Self(causes)
    }

    fn find<T: Error + 'static>(&self) -> Option<&'a T> {
        self.0.iter().find_map(|cause| cause.downcast_ref())
    }

    /// The last of them, which says what happened; the others say what it was happening to.
    fn root(&self) -> String {
        self.0.last().map_or_else(|| "no cause is known".to_owned(), ToString::to_string)
    }
}
