//! Errors of the API: problem details (RFC 9457).

use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Grant, Scope};
use crate::store::{ConditionError, FeedSpan, Position, StoreError};
use protocol::diagnostic::Hint;

/// Problem details (RFC 9457).
#[derive(Debug, thiserror::Error, Serialize, ToSchema)]
#[error("{detail}")]
pub(crate) struct Problem {
    /// Always `about:blank`: the status identifies the kind of problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The reason phrase of the status.
    title: &'static str,
    /// The HTTP status code.
    status: u16,
    /// What went wrong.
    detail: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<String>,
    // Boxed, as it is rare and an error is to be small.
    /// The oldest position that can be given as `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<i64>)]
    position: Option<Box<Position>>,
    /// The invalid parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameter: Option<String>,
    /// The scope that the token lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>)]
    scope: Option<Scope>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            hint: hint.map(str::to_owned),
            position: None,
            parameter: None,
            scope: None,
        }
    }

    /// An invalid parameter. `detail` and `hint` may quote what was sent, and nothing else.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>, hint: &str) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, detail, Some(hint));
        Self { parameter: Some(name.to_owned()), ..problem }
    }

    /// The path is not text.
    pub(crate) fn path(rejection: &PathRejection) -> Self {
        tracing::debug!(%rejection, "a path was not read");
        Self::new(StatusCode::BAD_REQUEST, "the path is not UTF-8", Some("percent-encode it"))
    }

    /// The token does not allow this.
    pub(crate) fn scope(grant: &Grant, scope: Scope) -> Self {
        let (name, has) = (grant.name(), grant.scope());
        let detail = format!("the scope `{scope}` is missing: the token `{name}` has `{has}`");
        let hint = format!(
            "use a token whose `scopes` in `[[ops.tokens]]` name `{scope}`, or `ops.token`"
        );
        let problem = Self::new(StatusCode::FORBIDDEN, detail, Some(&hint));
        Self { scope: Some(scope), ..problem }
    }

    pub(crate) fn unauthorized() -> Self {
        let hint = "send `Authorization: Bearer` with `ops.token` or one of `ops.tokens`, or sign in at /sign-in";
        Self::new(StatusCode::UNAUTHORIZED, "a token is required", Some(hint))
    }

    /// Beyond the limit, an answer no longer says whether the token was wrong.
    pub(crate) fn too_many_guesses() -> Self {
        let detail = "too many attempts with a wrong token";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail, Some("wait a minute, then try again"))
    }

    /// Nobody knows what followed this position.
    pub(crate) fn position(after: Position, span: FeedSpan) -> Self {
        let FeedSpan { start, end } = span;
        let detail = if after > end {
            format!(
                "position {after} is none of this store, whose latest is {end}: it may be an older backup"
            )
        } else {
            format!("position {after} is no longer kept; the oldest is {start}")
        };
        let hint = format!(
            "go on with `after={start}`, and read what may be missing by time, with `received_at` in mind"
        );
        Self { position: Some(start.into()), ..Self::new(StatusCode::GONE, detail, Some(&hint)) }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, None)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method not allowed: this endpoint is read-only",
            Some("use GET"),
        )
    }

    /// Temporarily overloaded: the client should retry.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what, Some("try again in a second"))
    }

    pub(crate) fn starting() -> Self {
        Self::busy("the server is starting")
    }

    /// A receiver of scale-out mode.
    pub(crate) fn no_store() -> Self {
        let hint = "ask a server whose `stream.role` is `writer` or `all`";
        let text = "this server takes callbacks and has no store";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text, Some(hint))
    }

    pub(crate) fn too_slow() -> Self {
        let hint =
            "narrow the query: a shorter time range with `since` and `until`, an app, or an id";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "the store did not answer in time", Some(hint))
    }

    /// A bug of this server.
    pub(crate) fn internal() -> Self {
        let hint = "the server's log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", Some(hint))
    }
}

impl Hint for Problem {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl From<ConditionError> for Problem {
    fn from(error: ConditionError) -> Self {
        Self::parameter(&error.name, error.detail, &error.hint)
    }
}

/// The store's own error goes to the log only: it may hold internals.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_timeout() {
            return Self::too_slow();
        }
        if error.is_unavailable() {
            tracing::debug!(%error, hint = error.hint(), "the store did not answer a reader");
            return Self::busy("the store is not available");
        }
        tracing::error!(%error, hint = error.hint(), "a query of the API failed");
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
        let lacks = self
            .scope
            .map(|scope| format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""));
        if let Some(challenge) = lacks.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some((name, value)) = more {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
