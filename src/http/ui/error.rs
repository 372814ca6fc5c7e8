//! Why a page cannot be shown, and the page that says so.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::clock::UnixMillis;
use crate::http::ui::html::visible;
use crate::http::ui::shell::Shell;
use crate::store::StoreError;

/// Why a page is not there.
#[derive(Debug)]
pub(crate) enum PageError {
    /// Nothing has this name.
    NotFound(String),
    /// The query is not one of the page's.
    Parameter(String),
    /// The server does not take callbacks yet, and has no store.
    Starting,
    /// Too many read at once.
    Busy,
    /// The store did not answer.
    Store(StoreError),
    /// The store did not answer in time.
    TimedOut,
    /// It could not be drawn.
    Broken(askama::Error),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Store(error) }
    }
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
                "Not here",
                text,
                "It may have been deleted because of its age, or its event has not come yet. The search above takes any \
                 call id, room id, account or event id.",
            ),
            Self::Parameter(text) => (
                StatusCode::BAD_REQUEST,
                "Not understood",
                text,
                "Names and values are those of the API, which describes each at /api/v1/openapi.json.",
            ),
            Self::Starting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Starting",
                "The server has just begun to start and has not opened its store yet.".to_owned(),
                "Try again in a moment.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The readers are busy",
                "As many pages and requests read the store as may at once.".to_owned(),
                "Try again in a moment. Callbacks are taken all the same.",
            ),
            Self::TimedOut => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is slow",
                "The store did not answer in time.".to_owned(),
                "Ask for a shorter span of time or a narrower filter. Callbacks are taken all the same.",
            ),
            Self::Broken(error) => {
                tracing::error!(%error, "a page could not be drawn");
                let text =
                    "This page could not be drawn, which is a mistake of this program.".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "Broken", text, "The log says more.")
            }
            Self::Store(error) => {
                tracing::warn!(%error, "the dashboard could not read the store");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The store was not read",
                    "This page is read from the store, which cannot be read just now; the log says why.".to_owned(),
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

/// A path that leads nowhere.
pub(crate) async fn not_found() -> Response {
    PageError::NotFound("There is no page at this address.".to_owned()).into_response()
}
