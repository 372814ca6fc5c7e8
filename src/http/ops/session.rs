//! Signing in with a browser: it gives the token once, and a cookie that is not the token stands for it from then on.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::clock::UnixMillis;
use crate::http::ops::state;
use crate::http::ops::state::Ops;
use crate::http::ui::assets;

/// The cookie's name.
const COOKIE: &str = "trtc_session";
/// How long a sign-in lasts.
const LASTS: Duration = Duration::from_hours(12);
/// How many may be signed in at once: for one more, the oldest is signed out.
const SESSIONS_MAX: usize = 100;
/// The largest form that is read, in bytes, and how long it may take.
const FORM_BYTES_MAX: usize = 8192;
const FORM_TIMEOUT: Duration = Duration::from_secs(5);
/// Where one goes who is signed in and named no page.
const HOME: &str = "/";

tokio::task_local! {
    /// Set while a request is answered that a cookie admitted.
    static SIGNED_IN: ();
}

/// Whether the page that is being drawn is for somebody who signed in, and so may sign out.
pub(crate) fn is_signed_in() -> bool {
    SIGNED_IN.try_with(|()| ()).is_ok()
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
    fn begin(&self, now: UnixMillis) -> String {
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

    fn end(&self, headers: &HeaderMap) {
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

/// Stands before the pages: who may not see them is sent to the page to sign in at, and from there back again.
pub(crate) async fn or_sign_in(
    State(ops): State<Arc<Ops>>,
    request: Request,
    next: Next,
) -> Response {
    if ops.admits(request.method(), request.headers()) {
        return if ops.sessions.admit(request.headers(), ops.clock.now()) {
            SIGNED_IN.scope((), next.run(request)).await
        } else {
            next.run(request).await
        };
    }
    if let Some(wait) = ops.guessed(request.headers(), state::peer(&request)) {
        return state::too_many_guesses(wait);
    }
    let to = request.uri().path_and_query().map_or(HOME, |target| target.as_str());
    let encoded: String = form_urlencoded::byte_serialize(to.as_bytes()).collect();
    see_other(&format!("/sign-in?to={encoded}"))
}

/// The page to sign in at.
pub(crate) async fn page(State(ops): State<Arc<Ops>>, request: Request) -> Response {
    let to = wanted(request.uri().query().unwrap_or("").as_bytes(), "to");
    let to = local(to.as_deref());
    if ops.admits(request.method(), request.headers()) {
        return see_other(&to);
    }
    form(StatusCode::OK, &to, None)
}

/// Takes the token, and gives the cookie.
pub(crate) async fn sign_in(State(ops): State<Arc<Ops>>, request: Request) -> Response {
    let peer = state::peer(&request);
    let (head, body) = request.into_parts();
    if is_foreign(&head.headers) {
        return foreign();
    }
    let now = ops.clock.now();
    let Some(body) = read(body).await else {
        return form(
            StatusCode::BAD_REQUEST,
            HOME,
            Some("The form did not arrive whole: try again."),
        );
    };
    let to = local(wanted(&body, "to").as_deref());
    let token = wanted(&body, "token").unwrap_or_default();
    // The right one is taken whatever others give: wrong ones keep nobody out.
    if !ops.is_token(token.trim().as_bytes()) {
        return wrong(&ops, &to, peer, now);
    }
    let value = ops.sessions.begin(now);
    set_cookie(see_other(&to), &head.headers, &value, LASTS)
}

/// Counts a wrong token. Beyond so many it is not even said that it was wrong.
fn wrong(ops: &Ops, to: &str, peer: Option<IpAddr>, now: UnixMillis) -> Response {
    if let Some(wait) = ops.guesses.wrong(peer, now) {
        let said = "Too many wrong tokens were given: wait a minute, then try again.";
        let mut response = form(StatusCode::TOO_MANY_REQUESTS, to, Some(said));
        response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        return response;
    }
    let said = "This is not the token: it is the one set as `ops.token`.";
    form(StatusCode::FORBIDDEN, to, Some(said))
}

/// Whether a page from elsewhere sends this form. A browser says so itself, save over plain HTTP: there its `Origin` must
/// be what it asked. (Behind a proxy that need not be so, and there it speaks HTTPS.)
fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(HeaderName::from_static("sec-fetch-site")) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    !origin.is_some_and(|(_, origin)| origin.as_bytes().eq_ignore_ascii_case(host))
}

fn foreign() -> Response {
    let said = "The form came from a page of another site: sign in here.";
    form(StatusCode::FORBIDDEN, HOME, Some(said))
}

/// Forgets the cookie, here and in the browser.
pub(crate) async fn sign_out(State(ops): State<Arc<Ops>>, headers: HeaderMap) -> Response {
    if is_foreign(&headers) {
        return foreign();
    }
    ops.sessions.end(&headers);
    set_cookie(see_other("/sign-in"), &headers, "", Duration::ZERO)
}

/// The form's bytes; `None` where they are too many or do not come.
async fn read(body: Body) -> Option<Vec<u8>> {
    let read = tokio::time::timeout(FORM_TIMEOUT, to_bytes(body, FORM_BYTES_MAX)).await;
    Some(read.ok()?.ok()?.into())
}

fn wanted(form: &[u8], name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(form);
    fields.find_map(|(field, value)| (field == name).then(|| value.into_owned()))
}

/// A page of this listener, and of no other: nobody is sent elsewhere by a link to the sign-in.
fn local(to: Option<&str>) -> String {
    let here = |to: &&str| {
        let begins_here = to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/\\");
        begins_here && to.bytes().all(|byte| byte.is_ascii_graphic()) && to.parse::<Uri>().is_ok()
    };
    to.filter(here).unwrap_or(HOME).to_owned()
}

fn see_other(to: &str) -> Response {
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static(HOME));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// The cookie is for this listener alone, and no script sees it. `Secure` where the browser spoke HTTPS to a proxy: were
/// that a lie, the liar's own cookie would be the one that is not sent.
fn set_cookie(mut response: Response, asked: &HeaderMap, value: &str, lasts: Duration) -> Response {
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

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    to: &'a str,
    said: Option<&'a str>,
    css: &'static str,
    icon: &'static str,
}

fn form(status: StatusCode, to: &str, said: Option<&str>) -> Response {
    let (css, icon) = (assets::css(), assets::icon());
    let Ok(page) = (SignIn { to, said, css, icon }).render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, html)], page).into_response()
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

    #[test]
    fn a_form_is_taken_from_our_own_pages_alone() {
        let foreign = |name: &'static str, value: &'static str| {
            let host = (header::HOST, HeaderValue::from_static("ops.example:9090"));
            let more = (HeaderName::from_static(name), HeaderValue::from_static(value));
            is_foreign(&[host, more].into_iter().collect())
        };
        assert!(!foreign("accept", "*/*"));
        for site in ["same-origin", "none"] {
            assert!(!foreign("sec-fetch-site", site), "{site}");
        }
        for site in ["cross-site", "same-site", "x"] {
            assert!(foreign("sec-fetch-site", site), "{site}");
        }
        assert!(!foreign("origin", "http://OPS.example:9090"));
        for origin in ["null", "http://evil.example", "http://ops.example", "ops.example:9090"] {
            assert!(foreign("origin", origin), "{origin}");
        }
    }

    #[test]
    fn a_sign_in_leads_nowhere_else() {
        for to in ["/", "/calls?app=1&x=%20", "/rooms/1/a%2Fb/latest"] {
            assert_eq!(local(Some(to)), to);
        }
        for to in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/a\r\nb"]
        {
            assert_eq!(local(Some(to)), HOME, "{to}");
        }
    }
}
