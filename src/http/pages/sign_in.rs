//! Signing in: a browser gives a token once, and gets a session cookie for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use crate::access::Scope;
use crate::http::access::audit;
use crate::http::ops::state::Ops;
use crate::http::ops::{auth, session};
use crate::http::ui::assets;
use protocol::UnixMillis;

/// The largest form that is read, in bytes, and how long it may take.
const FORM_BYTES_MAX: usize = 8192;
const FORM_TIMEOUT: Duration = Duration::from_secs(5);
/// Where one goes who is signed in and named no page.
const HOME: &str = "/";

/// The middleware of the pages: redirects to the sign-in page if there is no session, and from there back.
pub(crate) async fn or_sign_in(
    State(ops): State<Arc<Ops>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(grant) = ops.grant(request.method(), request.headers()) {
        let session = ops.session(request.headers());
        request.extensions_mut().insert(grant);
        return match session {
            Some(session) => session::within(session, next.run(request)).await,
            None => next.run(request).await,
        };
    }
    if let Some(wait) = ops.guessed(request.headers(), auth::peer(request.extensions())) {
        return auth::too_many_guesses(wait);
    }
    let to = request.uri().path_and_query().map_or(HOME, |target| target.as_str());
    let encoded: String = form_urlencoded::byte_serialize(to.as_bytes()).collect();
    see_other(&format!("/sign-in?to={encoded}"))
}

/// The page to sign in at.
pub(crate) async fn page(State(ops): State<Arc<Ops>>, request: Request) -> Response {
    let to = wanted(request.uri().query().unwrap_or("").as_bytes(), "to");
    let to = local(to.as_deref());
    let grant = ops.grant(request.method(), request.headers());
    if grant.is_some_and(|grant| grant.allows(Scope::Read)) {
        return see_other(&to);
    }
    form(StatusCode::OK, &to, None)
}

/// Checks the token, and sets the session cookie.
pub(crate) async fn sign_in(State(ops): State<Arc<Ops>>, request: Request) -> Response {
    let peer = auth::peer(request.extensions());
    let (head, body) = request.into_parts();
    if is_foreign(&head.headers) {
        return foreign();
    }
    let now = ops.clock.now();
    let Some(body) = read(body).await else {
        return form(
            StatusCode::BAD_REQUEST,
            HOME,
            Some("The form was not received completely: try again."),
        );
    };
    let to = local(wanted(&body, "to").as_deref());
    let token = wanted(&body, "token").unwrap_or_default();
    // The right one is taken whatever others give: wrong ones keep nobody out.
    let Some(grant) = ops.tokens.find(token.trim().as_bytes()) else {
        return wrong(&ops, &to, peer, now);
    };
    if !grant.allows(Scope::Read) {
        audit::refused(&grant, Scope::Read, peer);
        let (name, scope) = (grant.name(), grant.scope());
        let said =
            format!("The token “{name}” has the scope “{scope}”: the dashboard needs “read”.");
        return form(StatusCode::FORBIDDEN, &to, Some(&said));
    }
    audit::signed_in(&grant, peer);
    let value = ops.sessions.begin(grant, now);
    session::set_cookie(see_other(&to), &head.headers, &value, session::LASTS)
}

/// Counts a wrong token. Beyond the limit the answer does not even say that it was wrong.
fn wrong(ops: &Ops, to: &str, peer: Option<IpAddr>, now: UnixMillis) -> Response {
    if let Some(wait) = ops.guesses.wrong(peer, now) {
        let said = "Too many attempts with a wrong token: wait a minute, then try again.";
        let mut response = form(StatusCode::TOO_MANY_REQUESTS, to, Some(said));
        response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        return response;
    }
    let said = "Wrong token: enter one of this server's settings.";
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
    let said = "The form was sent from another site: sign in here.";
    form(StatusCode::FORBIDDEN, HOME, Some(said))
}

/// Ends the session, and removes the cookie.
pub(crate) async fn sign_out(State(ops): State<Arc<Ops>>, request: Request) -> Response {
    let headers = request.headers();
    if is_foreign(headers) {
        return foreign();
    }
    if let Some(grant) = ops.sessions.grant(headers, ops.clock.now()) {
        audit::signed_out(&grant, auth::peer(request.extensions()));
    }
    ops.sessions.end(headers);
    session::set_cookie(see_other("/sign-in"), headers, "", Duration::ZERO)
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
    (status, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use crate::http::pages::sign_in::*;

    #[test]
    fn a_form_is_accepted_only_from_our_own_pages() {
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
        for to in ["/", "/calls?app=1&x=%20", "/room-sessions/1/a%2Fb/latest"] {
            assert_eq!(local(Some(to)), to);
        }
        for to in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/a\r\nb"]
        {
            assert_eq!(local(Some(to)), HOME, "{to}");
        }
    }
}
