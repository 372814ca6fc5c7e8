//! Why a page cannot be shown, and the page that says so.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::access::{Grant, Scope};
use crate::http::ui::html::visible;
use crate::http::ui::shell::Shell;
use crate::store::{ConditionError, StoreError};
use protocol::UnixMillis;

/// Why a page is not there.
#[derive(Debug)]
pub(crate) enum PageError {
    /// There is no such page or record.
    NotFound(String),
    /// The query is invalid.
    Parameter(String),
    /// The token lacks a scope.
    Scope(String),
    /// The server does not take callbacks yet, and has no store.
    Starting,
    /// This server is a receiver of scale-out mode.
    NoStore,
    /// Too many read at once.
    Busy,
    /// The store did not answer.
    Store(StoreError),
    /// The store did not answer in time.
    TimedOut,
    /// It could not be rendered.
    Broken(askama::Error),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Store(error) }
    }
}

impl From<ConditionError> for PageError {
    fn from(error: ConditionError) -> Self {
        Self::Parameter(sentence(&error))
    }
}

/// What is wrong with a condition, to be read in one line.
pub(crate) fn sentence(error: &ConditionError) -> String {
    visible(&format!("{}; {}", error.detail, error.hint)).into_owned()
}

#[derive(Template)]
#[template(path = "fault.html")]
struct ErrorPage {
    shell: Shell,
    text: String,
    hint: &'static str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, text, hint) = match self {
            Self::NotFound(text) => (
                StatusCode::NOT_FOUND,
                "Not found",
                text,
                "It may have been deleted by retention, or its event has not arrived yet. The search above takes any \
                 call id, room id, account or event id.",
            ),
            Self::Parameter(text) => (
                StatusCode::BAD_REQUEST,
                "Bad request",
                text,
                "Names and values are those of the API: see /api/v1/openapi.json.",
            ),
            Self::Scope(text) => (
                StatusCode::FORBIDDEN,
                "Not allowed",
                text,
                "Use a token that allows it: the page Access of the documents says who gets which.",
            ),
            Self::Starting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Starting",
                "The server is starting and has not opened its store yet.".to_owned(),
                "Try again in a moment.",
            ),
            Self::NoStore => (
                StatusCode::SERVICE_UNAVAILABLE,
                "No store here",
                "This server takes callbacks and passes their events to the stream; it has no store to read.".to_owned(),
                "Open the dashboard of a server whose `stream.role` is `writer` or `all`. The overview shows what this one takes.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The readers are busy",
                "Too many pages and requests are reading the store.".to_owned(),
                "Try again in a moment. Callbacks are still accepted.",
            ),
            Self::TimedOut => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is slow",
                "The store did not answer in time.".to_owned(),
                "Use a shorter time range or a narrower filter. Callbacks are still accepted.",
            ),
            Self::Broken(error) => {
                tracing::error!(%error, "a page could not be rendered");
                let text = "This page could not be rendered, which is a bug of this program.";
                let hint = "The log has the details.";
                (StatusCode::INTERNAL_SERVER_ERROR, "Internal error", text.to_owned(), hint)
            }
            Self::Store(error) => {
                tracing::warn!(%error, "the dashboard could not read the store");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The store is not available",
                    "This page is read from the store, which is not available; the log says why."
                        .to_owned(),
                    "Try again in a moment. The overview shows whether the store takes events.",
                )
            }
        };
        let text = visible(&text).into_owned();
        let shell = Shell { now: None, ..Shell::new(title, None, UnixMillis(0)) };
        match (ErrorPage { shell, text, hint }).render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => (status, format!("{title}\n")).into_response(),
        }
    }
}

/// The page for somebody whose token lacks a scope.
pub(crate) fn no_scope(grant: &Grant, scope: Scope) -> Response {
    let (name, has) = (grant.name(), grant.scope());
    let text = format!("This page needs the scope “{scope}”, and the token “{name}” has “{has}”.");
    PageError::Scope(text).into_response()
}

/// A path that leads nowhere.
pub(crate) async fn not_found() -> Response {
    PageError::NotFound("There is no page at this address.".to_owned()).into_response()
}
