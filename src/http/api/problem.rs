//! What the API answers where it has nothing to give: problem details, as RFC 9457 has them.

use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Why a request has no other answer (RFC 9457).
#[derive(Debug, thiserror::Error, Serialize, ToSchema)]
#[error("{detail}")]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The answer's status.
    status: u16,
    /// What is wrong.
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<String>,
    /// Which parameter it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameter: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            hint: hint.map(str::to_owned),
            parameter: None,
        }
    }

    /// A parameter does not do. `detail` and `hint` hold nothing that was sent, or what was sent and no more.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>, hint: &str) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, detail, Some(hint));
        Self { parameter: Some(name.to_owned()), ..problem }
    }

    /// The path's segments are no text.
    pub(crate) fn path(rejection: &PathRejection) -> Self {
        tracing::debug!(%rejection, "a path was not read");
        Self::new(StatusCode::BAD_REQUEST, "the path is not UTF-8", Some("percent-encode it"))
    }

    pub(crate) fn unauthorized() -> Self {
        let hint = "send `Authorization: Bearer` with the token set as `ops.token`, or sign in at /sign-in";
        Self::new(StatusCode::UNAUTHORIZED, "a token is required", Some(hint))
    }

    /// Of so many wrong tokens none is answered as such any more.
    pub(crate) fn too_many_guesses() -> Self {
        let detail = "too many wrong tokens were given";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail, Some("wait a minute, then try again"))
    }

    /// There is no such thing.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, None)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this only gives", Some("use GET"))
    }

    /// Others ask just now; the same request may be answered soon.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what, Some("try again in a second"))
    }

    /// The store is not there yet.
    pub(crate) fn starting() -> Self {
        Self::busy("the server is starting")
    }

    /// The store took longer than it may.
    pub(crate) fn too_slow() -> Self {
        let hint = "ask for less: name a shorter time with `since` and `until`, an app, or an id";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "the store did not answer in time", Some(hint))
    }

    /// A mistake of ours.
    pub(crate) fn internal() -> Self {
        let hint = "the server's log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "this went wrong here", Some(hint))
    }
}

/// What the store said goes to the log: it may name what nobody else should know.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_timeout() {
            return Self::too_slow();
        }
        if error.is_unavailable() {
            tracing::debug!(%error, "the store did not answer a reader");
            return Self::busy("the store is not available");
        }
        tracing::error!(%error, "the store did not do what a reader asked of it");
        match error {
            StoreError::Refused(_) => Self::internal(),
            // A missing database or right, for example.
            _ => Self::busy("the store is not available"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        // It is text and a number: writing it cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, kind, body).into_response();
        let headers = response.headers_mut();
        let more = match status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "60")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = more {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
