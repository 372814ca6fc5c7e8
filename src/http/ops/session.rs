//! Sessions of signed-in browsers, and their cookie, which is not the token.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::access::Grant;
use protocol::UnixMillis;

/// The cookie's name.
const COOKIE: &str = "trtc_session";
/// Lifetime of a sign-in.
pub(crate) const LASTS: Duration = Duration::from_hours(12);
/// Maximum number of sessions: one more ends the oldest.
const SESSIONS_MAX: usize = 100;
tokio::task_local! {
    /// Set while a request is handled that a cookie authorized.
    static SIGNED_IN: Grant;
}

/// What the session of the rendered page may do; none where nobody can sign out.
pub(crate) fn signed_in() -> Option<Grant> {
    SIGNED_IN.try_with(Clone::clone).ok()
}

/// Handles a request that a cookie authorized.
pub(crate) async fn within<T>(grant: Grant, answer: impl Future<Output = T>) -> T {
    SIGNED_IN.scope(grant, answer).await
}

/// The sessions. Only in memory: a restart ends all of them.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<SessionTable>);

#[derive(Default)]
struct SessionTable {
    /// Oldest first.
    sessions: VecDeque<Session>,
}

struct Session {
    /// The hash of the cookie's value: it authorizes nothing, and is compared in constant time.
    digest: [u8; 32],
    until: UnixMillis,
    /// What the token allows that began it.
    grant: Grant,
}

impl Sessions {
    /// A poisoned lock only means that another request panicked; each change is complete.
    fn kept(&self) -> MutexGuard<'_, SessionTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a session; returns the cookie's value.
    pub(crate) fn begin(&self, grant: Grant, now: UnixMillis) -> String {
        let value = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut kept = self.kept();
        kept.sessions.retain(|session| session.until > now);
        if kept.sessions.len() >= SESSIONS_MAX {
            kept.sessions.pop_front();
        }
        let (digest, until) = (digest(&value), now.plus(LASTS));
        kept.sessions.push_back(Session { digest, until, grant });
        value
    }

    /// What the live session allows whose cookie the request has.
    pub(crate) fn grant(&self, headers: &HeaderMap, now: UnixMillis) -> Option<Grant> {
        let sent: Vec<_> = cookies(headers).map(digest).collect();
        let kept = self.kept();
        let fits = |session: &&Session| {
            sent.iter().any(|digest| bool::from(digest.ct_eq(&session.digest)))
                && session.until > now
        };
        kept.sessions.iter().find(fits).map(|session| session.grant.clone())
    }

    /// Ends the sessions whose cookies the request has.
    pub(crate) fn end(&self, headers: &HeaderMap) {
        let sent: Vec<_> = cookies(headers).map(digest).collect();
        self.kept().sessions.retain(|session| !sent.contains(&session.digest));
    }
}

fn digest(value: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(value).into()
}

/// The values of our cookie in a request.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Valid for this listener only and hidden from scripts. `Secure` where a proxy reports HTTPS: a client that forges
/// this only loses its own cookie.
pub(crate) fn set_cookie(
    mut response: Response,
    asked: &HeaderMap,
    value: &str,
    lasts: Duration,
) -> Response {
    let forwarded = asked.get(HeaderName::from_static("x-forwarded-proto"));
    let secure = forwarded.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if secure { "; Secure" } else { "" };
    let age = lasts.as_secs();
    let cookie =
        format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use crate::access::AccessTokens;
    use crate::http::ops::session::*;

    fn cookie(value: &str) -> HeaderMap {
        let line = format!("a=b; {COOKIE}={value};c");
        [(header::COOKIE, HeaderValue::from_str(&line).unwrap())].into_iter().collect()
    }

    /// The grant of everybody: no token is required.
    fn grant() -> Grant {
        let read = |_: &std::path::Path| Err(String::new().into());
        AccessTokens::load(Vec::new(), 0, read).unwrap().find(b"").unwrap()
    }

    #[test]
    fn a_session_admits_until_it_ends() {
        let (sessions, now) = (Sessions::default(), UnixMillis(1_000_000));
        let value = sessions.begin(grant(), now);
        let admits = |value: &str, now: UnixMillis| sessions.grant(&cookie(value), now).is_some();
        assert!(admits(&value, now));
        assert!(!admits("", now));
        assert!(!admits(&value[1..], now));
        assert!(!admits(&value, now.plus(LASTS)));
        sessions.end(&cookie(&value));
        assert!(!admits(&value, now));
    }

    #[test]
    fn sign_ins_are_limited_and_the_oldest_is_evicted() {
        let (sessions, now) = (Sessions::default(), UnixMillis(0));
        let values: Vec<_> = (0..=SESSIONS_MAX).map(|_| sessions.begin(grant(), now)).collect();
        let admits = |value: &String| sessions.grant(&cookie(value), now).is_some();
        assert!(!admits(&values[0]));
        assert!(values[1..].iter().all(admits));
    }
}
