//! Access to the operations listener: the tokens, the `Host` and origin checks, and the headers of every response.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::Grant;
use crate::http::listener::slot::ConnectionSlot;
use crate::http::ops::state::Ops;

impl Ops {
    /// What the request may do: by its token, or by a session if it only reads. `None` where it has neither.
    pub(crate) fn grant(&self, method: &Method, headers: &HeaderMap) -> Option<Grant> {
        let reads = method == Method::GET || method == Method::HEAD;
        self.token_grant(headers).or_else(|| self.session(headers).filter(|_| reads))
    }

    /// What its token allows; everything where none is required.
    pub(super) fn token_grant(&self, headers: &HeaderMap) -> Option<Grant> {
        self.tokens.find(bearer(headers))
    }

    /// What its session allows, which ends with the token that began it.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Option<Grant> {
        let grant = self.sessions.grant(headers, self.clock.now())?;
        self.tokens.holds(&grant).then_some(grant)
    }

    /// Counts an unauthorized request with a wrong token. Returns the wait of a 429 answer once there were too many;
    /// such an answer does not reveal whether this token was wrong.
    pub(crate) fn guessed(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Duration> {
        if bearer(headers).is_empty() {
            return None;
        }
        self.guesses.wrong(peer, self.clock.now())
    }

    /// Whether a token is required.
    pub(crate) fn asks_token(&self) -> bool {
        self.tokens.is_required()
    }

    /// Whether `Host` is a name that no attacker can control. Protects a listener without a token against DNS
    /// rebinding: a web page's own name may suddenly resolve to 127.0.0.1.
    fn knows_host(&self, request: &Request) -> bool {
        let names = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        self.asks_token() || names.chain(target).all(is_local)
    }

    /// The reason to reject a request before routing; `None` where there is none.
    fn refuses(&self, request: &Request) -> Option<&'static str> {
        if !self.knows_host(request) {
            return Some("host not allowed: use an IP address or localhost, or set `ops.token`\n");
        }
        let is_health = HEALTH.contains(&request.uri().path());
        let refuses = !self.asks_token() && !is_health && is_from_elsewhere(request.headers());
        refuses.then_some(
            "cross-origin request rejected: open the address directly, or set `ops.token`\n",
        )
    }
}

/// Health checks, which need no token.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];
/// Paths served on reserved connections too, as their answers take no time.
const AT_ONCE: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// The bearer token of the request; empty where there is none.
fn bearer(headers: &HeaderMap) -> &[u8] {
    let sent = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    match sent.split_at_checked(b"Bearer ".len()) {
        Some((scheme, sent)) if scheme.eq_ignore_ascii_case(b"Bearer ") => sent,
        _ => b"",
    }
}

/// The peer of the connection that a request came by.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// Whether a browser marks the request as cross-origin. The page could not read the answer, but a request with side
/// effects would take place (CSRF). Another port of this machine counts as cross-origin too, as it may serve foreign
/// scripts. Typed URLs and bookmarks have no origin; other programs send no mark.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get(HeaderName::from_static("sec-fetch-site"));
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

/// The answer beyond the limit of wrong tokens, for right and wrong ones alike.
pub(crate) fn too_many_guesses(wait: Duration) -> Response {
    let wait = [(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))];
    let text = "too many attempts with a wrong token: wait a minute, then try again\n";
    (StatusCode::TOO_MANY_REQUESTS, wait, text).into_response()
}

/// Whether a `Host` is an IP address or `localhost`, with or without a port.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address = match inner {
        Some(inner) => inner.parse().is_ok_and(|address: IpAddr| address.is_ipv6()),
        None => name.parse().is_ok_and(|address: IpAddr| address.is_ipv4()),
    };
    address || name.eq_ignore_ascii_case("localhost")
}

/// Headers of every response of this listener: no caching, no foreign content, no framing.
const BROWSER_HEADERS: [(header::HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    // With `no-referrer` browsers would also hide the origin of our own forms.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
];

/// The middleware of every route of the listener.
pub(crate) async fn guard(State(ops): State<Arc<Ops>>, request: Request, next: Next) -> Response {
    let is_reserved =
        ConnectionSlot::of(request.extensions()).is_some_and(ConnectionSlot::is_reserved);
    let mut response = if let Some(text) = ops.refuses(&request) {
        (StatusCode::FORBIDDEN, text).into_response()
    } else if is_reserved && !AT_ONCE.contains(&request.uri().path()) {
        let later = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
        (StatusCode::SERVICE_UNAVAILABLE, later, "all connections are busy\n").into_response()
    } else {
        next.run(request).await
    };
    let is_refused = matches!(
        response.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    );
    // A reserved slot is for one answer, and unauthorized clients need a new connection each time.
    if is_reserved || is_refused {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in BROWSER_HEADERS {
        // Public assets set their own `Cache-Control`.
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

#[cfg(test)]
mod tests {
    use crate::http::ops::auth::*;

    #[test]
    fn a_local_host_is_an_address_or_localhost() {
        for host in
            ["127.0.0.1", "127.0.0.1:9090", "[::1]", "[::1]:9090", "localhost", "LOCALHOST:1"]
        {
            assert!(is_local(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":9090",
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "[evil.example]",
            "[127.0.0.1]",
            "::1",
            "\u{e9}",
        ] {
            assert!(!is_local(host.as_bytes()), "{host}");
        }
    }
}
