//! Who did what, as lines of the log with the target `audit`: exports, sign-ins and sign-outs.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use tracing::{debug, info};

use crate::access::{Grant, Scope};
use crate::http::ops::auth;
use crate::http::problem::Problem;

/// Who asks the API, and which route.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    grant: Grant,
    peer: String,
    /// Its pattern: the path itself may hold an account.
    route: String,
}

impl Reader {
    /// Who asks; `None` where nobody said so.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let grant = parts.extensions.get::<Grant>()?.clone();
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        Some(Self { grant, peer: shown(auth::peer(&parts.extensions)), route: route.to_owned() })
    }

    /// Whether it may have whole lists at once.
    pub(crate) fn may_export(&self) -> Result<(), Problem> {
        if self.grant.allows(Scope::Export) {
            return Ok(());
        }
        debug!(
            target: "audit",
            token = self.grant.name(),
            needs = Scope::Export.as_str(),
            peer = self.peer,
            "refused: the token lacks the scope"
        );
        Err(Problem::scope(&self.grant, Scope::Export))
    }

    #[cfg(test)]
    pub(crate) fn of_test() -> Self {
        let read = |_: &std::path::Path| Err(String::new().into());
        let tokens = crate::access::AccessTokens::load(Vec::new(), 0, read).unwrap();
        let grant = tokens.find(b"").unwrap();
        Self { grant, peer: String::new(), route: String::new() }
    }
}

/// An export under way. Its end is logged when it is dropped: whole, or not.
pub(crate) struct ExportRecord {
    reader: Reader,
    format: &'static str,
    /// The names of the conditions. Their values are left out, as any query is: they may be accounts or words of a body.
    filters: String,
    rows: u64,
    bytes: u64,
    is_whole: bool,
    began: Instant,
}

impl ExportRecord {
    pub(crate) fn begin(reader: &Reader, format: &'static str, filters: &str) -> Self {
        let Reader { grant, peer, route } = reader;
        info!(target: "audit", token = grant.name(), peer, route, filters, format, "an export begins");
        Self {
            reader: reader.clone(),
            format,
            filters: filters.to_owned(),
            rows: 0,
            bytes: 0,
            is_whole: false,
            began: Instant::now(),
        }
    }

    /// So many rows were read, which are so many bytes of text.
    pub(crate) fn add(&mut self, rows: usize, bytes: usize) {
        self.rows = self.rows.saturating_add(rows as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// The client has taken all of it.
    pub(crate) fn is_whole(&mut self) {
        self.is_whole = true;
    }
}

impl Drop for ExportRecord {
    fn drop(&mut self) {
        let Reader { grant, peer, route } = &self.reader;
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(
            target: "audit",
            token = grant.name(),
            peer,
            route,
            filters = self.filters,
            format = self.format,
            rows = self.rows,
            bytes = self.bytes,
            whole = self.is_whole,
            ms,
            "an export ended"
        );
    }
}

pub(crate) fn signed_in(grant: &Grant, peer: Option<IpAddr>) {
    let (scope, peer) = (grant.scope().as_str(), shown(peer));
    info!(target: "audit", token = grant.name(), scope, peer, "signed in to the dashboard");
}

pub(crate) fn signed_out(grant: &Grant, peer: Option<IpAddr>) {
    info!(target: "audit", token = grant.name(), peer = shown(peer), "signed out of the dashboard");
}

/// Not at `info`: a program that asks again and again would fill the log.
pub(crate) fn refused(grant: &Grant, needs: Scope, peer: Option<IpAddr>) {
    let (needs, peer) = (needs.as_str(), shown(peer));
    debug!(target: "audit", token = grant.name(), needs, peer, "refused: the token lacks the scope");
}

fn shown(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_canonical().to_string())
}
