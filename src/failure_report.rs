//! What went wrong with a call to the vendor that a background job made, as the log and the dashboard tell it.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use crate::tencent_api::{Action, Failure, VendorError};
use protocol::UnixMillis;
use protocol::diagnostic::{Diagnostic, Hint};

/// What went wrong, without secrets.
#[derive(Debug, Clone)]
pub(crate) struct FailureReport {
    /// What it was, on one line, and what to do.
    pub(crate) diagnostic: Diagnostic,
    /// The vendor's name for the call; absent where its answer had none.
    pub(crate) request_id: Option<String>,
    /// Since when it is so, for this reason.
    pub(crate) since: UnixMillis,
    reason: Reason,
}

/// What makes one trouble the same as another: their texts differ with every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Vendor(Action, Option<i64>, Discriminant<Failure>),
    Slow,
    Own(&'static str),
}

impl FailureReport {
    /// A call failed.
    pub(crate) fn failed(error: &VendorError, now: UnixMillis) -> Self {
        let reason = Reason::Vendor(error.action, error.code(), discriminant(&error.failure));
        let (diagnostic, request_id) = (error.diagnostic(), error.request_id.clone());
        Self { diagnostic, request_id, since: now, reason }
    }

    /// It took too long altogether.
    pub(crate) fn slow(host: &str, within: Duration, now: UnixMillis) -> Self {
        let text = format!("{host} did not bring it to an end within {} s", within.as_secs());
        let diagnostic = Diagnostic::new(text, "is the network slow, or a firewall on the way?");
        Self { diagnostic, request_id: None, since: now, reason: Reason::Slow }
    }

    /// The vendor's list of addresses does not do; `kind` is why, in general.
    pub(crate) fn list(kind: &'static str, text: String, now: UnixMillis) -> Self {
        let hint = "the list before stays in force; without one, all are let in; see `auth.source_addresses`";
        Self::unable(kind, Diagnostic::new(text, hint), now)
    }

    /// Nobody is to be called, since something here does not do; `kind` is why, in general.
    pub(crate) fn unable(kind: &'static str, diagnostic: Diagnostic, now: UnixMillis) -> Self {
        Self { diagnostic, request_id: None, since: now, reason: Reason::Own(kind) }
    }

    /// This trouble, since when it is so where it is the one that was there before.
    pub(crate) fn after(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before.filter(|before| before.is_like(&self)) {
            self.since = before.since;
        }
        self
    }

    /// Whether it is for the same reason.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.reason == other.reason
    }
}
