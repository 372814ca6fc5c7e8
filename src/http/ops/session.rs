//! The sessions of browsers that signed in, and their cookie, which is not the token.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::clock::UnixMillis;

/// The cookie's name.
const COOKIE: &str = "trtc_session";
/// How long a sign-in lasts.
pub(crate) const LASTS: Duration = Duration::from_hours(12);
/// How many may be signed in at once: for one more, the oldest is signed out.
const SESSIONS_MAX: usize = 100;
tokio::task_local! {
    /// Set while a request is answered that a cookie admitted.
    static SIGNED_IN: ();
}

/// Whether the page that is being drawn is for somebody who signed in, and so may sign out.
pub(crate) fn is_signed_in() -> bool {
    SIGNED_IN.try_with(|()| ()).is_ok()
}

/// Makes an answer to a request that a cookie admitted.
pub(crate) async fn signed_in<T>(answer: impl Future<Output = T>) -> T {
    SIGNED_IN.scope((), answer).await
}

/// Who is signed in. Kept in memory alone, so that a restart signs everybody out.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The oldest first.
    sessions: VecDeque<Session>,
}

struct Session {
    /// Of the cookie's value: what is kept opens nothing, and is compared in constant time.
    digest: [u8; 32],
    until: UnixMillis,
}

impl Sessions {
    /// A poisoned lock only means that another request panicked; each change of what it holds is whole.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one; returns the cookie's value.
    pub(crate) fn begin(&self, now: UnixMillis) -> String {
        let value = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut kept = self.kept();
        kept.sessions.retain(|session| session.until > now);
        if kept.sessions.len() >= SESSIONS_MAX {
            kept.sessions.pop_front();
        }
        kept.sessions.push_back(Session { digest: digest(&value), until: now.plus(LASTS) });
        value
    }

    /// Whether the request has the cookie of one that lasts.
    pub(crate) fn admit(&self, headers: &HeaderMap, now: UnixMillis) -> bool {
        let sent: Vec<_> = cookies(headers).map(digest).collect();
        let kept = self.kept();
        let fits = |session: &Session| {
            sent.iter().any(|digest| bool::from(digest.ct_eq(&session.digest)))
                && session.until > now
        };
        kept.sessions.iter().any(fits)
    }

    pub(crate) fn end(&self, headers: &HeaderMap) {
        let sent: Vec<_> = cookies(headers).map(digest).collect();
        self.kept().sessions.retain(|session| !sent.contains(&session.digest));
    }
}

fn digest(value: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(value).into()
}

/// The values of our cookie.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// The cookie is for this listener alone, and no script sees it. `Secure` where the browser spoke HTTPS to a proxy: were
/// that a lie, the liar's own cookie would be the one that is not sent.
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
    use crate::http::ops::session::*;

    fn cookie(value: &str) -> HeaderMap {
        let line = format!("a=b; {COOKIE}={value};c");
        [(header::COOKIE, HeaderValue::from_str(&line).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_admits_until_it_ends() {
        let (sessions, now) = (Sessions::default(), UnixMillis(1_000_000));
        let value = sessions.begin(now);
        assert!(sessions.admit(&cookie(&value), now));
        assert!(!sessions.admit(&cookie(""), now));
        assert!(!sessions.admit(&cookie(&value[1..]), now));
        assert!(!sessions.admit(&cookie(&value), now.plus(LASTS)));
        sessions.end(&cookie(&value));
        assert!(!sessions.admit(&cookie(&value), now));
    }

    #[test]
    fn so_many_are_signed_in_and_the_oldest_goes_first() {
        let (sessions, now) = (Sessions::default(), UnixMillis(0));
        let values: Vec<_> = (0..=SESSIONS_MAX).map(|_| sessions.begin(now)).collect();
        assert!(!sessions.admit(&cookie(&values[0]), now));
        assert!(values[1..].iter().all(|value| sessions.admit(&cookie(value), now)));
    }
}
