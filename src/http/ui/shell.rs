//! The dashboard: pages for people, on the operations listener. They read what any reader may, and change nothing.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::callback::AppId;
use crate::clock::UnixMillis;
use crate::http::api::list::Cursor;
use crate::http::api::params;
use crate::http::ops::read_limiter::PageTurn;
use crate::http::ops::session;
use crate::http::ops::state::{Keeping, Ops};
use crate::http::pages::settings::Addresses;
use crate::http::pages::{
    anomalies, calls, events, lives, overview, room, rooms, search, settings, tail,
};
use crate::http::ui::assets;
use crate::http::ui::assets::asset;
use crate::http::ui::filters::{Form, Query};
use crate::http::ui::html::{Html, moment, visible};
use crate::store::{List, Store, StoreError};

/// How long a page waits for the store.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How many rows a page of a list has.
pub(crate) const PAGE_ROWS: u32 = 50;

/// All pages.
pub(crate) fn routes() -> Router<Arc<Ops>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/tail", get(tail::page))
        .route("/calls", get(calls::list))
        .route("/calls/{app}/{call_id}", get(calls::page))
        .route("/rooms", get(rooms::list))
        .route("/rooms/{app}/{room_id}", get(rooms::latest))
        .route("/rooms/{app}/{room_id}/{life}", get(room::page))
        .route("/lives", get(lives::list))
        .route("/events", get(events::list))
        .route("/events/{id}", get(events::page))
        .route("/search", get(search::search))
        .route("/users/{app}/{account}", get(search::user))
        .route("/anomalies", get(anomalies::list))
        .route("/settings", get(settings::page))
        .layer(from_fn(in_time))
}

/// What pages are drawn with: the same for everybody, so that whoever is about to sign in may have it.
pub(crate) fn assets() -> Router<Arc<Ops>> {
    Router::new().route("/assets/{version}/{name}", get(asset))
}

/// What a page has around it.
pub(crate) struct Shell {
    pub(crate) title: String,
    /// The place in the navigation, by its path.
    pub(crate) here: &'static str,
    /// When it was drawn; absent where nothing on it depends on that.
    pub(crate) now: Option<UnixMillis>,
    pub(crate) css: &'static str,
    pub(crate) js: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) version: &'static str,
    /// What stands in the search box.
    pub(crate) query: String,
    /// Whether there is something to sign out of.
    pub(crate) is_signed_in: bool,
    /// The app that one looks at, where there are several: links to other pages keep it.
    pub(crate) app: Option<AppId>,
    /// Where the server is; empty on pages that say nothing of it.
    pub(crate) addresses: Addresses,
}

/// Places in the navigation: path and words.
const PLACES: [(&str, &str); 8] = [
    ("/", "Overview"),
    ("/tail", "Tail"),
    ("/calls", "Calls"),
    ("/rooms", "Rooms"),
    ("/lives", "Lives"),
    ("/events", "Events"),
    ("/anomalies", "Anomalies"),
    ("/settings", "Settings"),
];

impl Shell {
    pub(crate) fn new(title: impl AsRef<str>, here: &'static str, now: UnixMillis) -> Self {
        Self {
            title: visible(title.as_ref()).into_owned(),
            here,
            now: Some(now),
            css: assets::css(),
            js: assets::js(),
            icon: assets::icon(),
            version: env!("CARGO_PKG_VERSION"),
            query: String::new(),
            is_signed_in: session::is_signed_in(),
            app: None,
            addresses: Addresses::default(),
        }
    }

    /// Of this server, and of one app, which matters where it has several.
    pub(crate) fn within(self, ops: &Ops, app: Option<AppId>) -> Self {
        let app = app.filter(|_| ops.apps.len() > 1);
        Self { app, addresses: ops.setup.addresses.clone(), ..self }
    }

    /// A page that stays with the app one looks at.
    pub(crate) fn href(&self, path: &str) -> String {
        let sign = if path.contains('?') { '&' } else { '?' };
        self.app.map_or_else(|| path.to_owned(), |app| format!("{path}{sign}app={}", app.as_i64()))
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = (String, &'static str, bool)> {
        PLACES.iter().map(|(path, words)| (self.href(path), *words, *path == self.here))
    }

    /// The events of one family.
    pub(crate) fn family_href(&self, family: &str) -> String {
        self.href(&format!("/events?family={family}"))
    }

    pub(crate) fn clock(&self) -> Option<Html> {
        self.now.map(moment)
    }
}

/// Why a page is not there.
#[derive(Debug)]
pub(crate) enum Fault {
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

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Store(error) }
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    shell: Shell,
    text: String,
    hint: &'static str,
}

impl IntoResponse for Fault {
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
        let shell = Shell { now: None, ..Shell::new(title, "", UnixMillis(0)) };
        match (FaultPage { shell, text, hint }).render() {
            Ok(html) => (status, as_html(html)).into_response(),
            Err(_) => (status, format!("{title}\n")).into_response(),
        }
    }
}

/// A page, or why it is not there.
pub(crate) type Paged = Result<Response, Fault>;

/// What a page reads from. It has one of the readers' turns, so it asks one thing after the other.
pub(crate) struct Reading<'a> {
    pub(crate) keeping: &'a Keeping,
    pub(crate) now: UnixMillis,
    _turn: PageTurn<'a>,
}

impl<'a> Reading<'a> {
    pub(crate) async fn of(ops: &'a Ops) -> Result<Self, Fault> {
        let keeping = ops.keeping.get().ok_or(Fault::Starting)?;
        let turn = ops.reading.page().await.ok_or(Fault::Busy)?;
        Ok(Self { keeping, now: ops.clock.now(), _turn: turn })
    }
}

/// Gives up a page that the store takes too long for.
async fn in_time(request: Request, next: Next) -> Response {
    let made = tokio::time::timeout(READ_TIMEOUT, next.run(request)).await;
    made.unwrap_or_else(|_| Fault::TimedOut.into_response())
}

/// A path that leads nowhere.
pub(crate) async fn not_found() -> Response {
    Fault::NotFound("There is no page at this address.".to_owned()).into_response()
}

/// A page with a form, which may have been asked for what it does not take.
pub(crate) fn answered(is_good: bool, page: &impl Template) -> Paged {
    let mut response = done(page)?;
    if !is_good {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// A page that is there. What a browser may do with it, the listener's guard says.
pub(crate) fn done(page: &impl Template) -> Paged {
    Ok(as_html(page.render().map_err(Fault::Broken)?))
}

fn as_html(html: String) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], html).into_response()
}

/// A page of a list, and what leads to its others.
pub(crate) struct Shown<T> {
    pub(crate) rows: Vec<T>,
    /// The next page.
    pub(crate) older: Option<String>,
    /// Whether it is not the first page.
    pub(crate) is_later: bool,
}

/// Reads the page of `list` that the query asks for with `after`; an empty one where the form cannot be understood.
pub(crate) async fn shown<L: List<Place: Cursor>>(
    store: &dyn Store,
    list: &L,
    (form, query, after): (&Form, &Query, &str),
) -> Result<Shown<L::Row>, StoreError> {
    if !form.is_good() {
        return Ok(Shown { rows: Vec::new(), older: None, is_later: false });
    }
    let behind: Option<L::Place> = params::place(&form.action, query.get(after));
    let is_later = behind.is_some();
    let (rows, end) = list.part(store, behind, PAGE_ROWS).await?;
    let older = end.and_then(|end| params::cursor(&form.action, &end));
    Ok(Shown { rows, older: older.map(|cursor| form.behind(after, &cursor)), is_later })
}

/// The app in a path.
pub(crate) fn app(text: &str) -> Result<AppId, Fault> {
    AppId::parse(text).ok_or_else(|| Fault::NotFound(format!("“{text}” is no app id.")))
}
