//! Reading what a page shows, and answering with it.

use std::time::Duration;

use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use crate::http::cursor::{self, Cursor};
use crate::http::ops::read_limiter::PageTurn;
use crate::http::ops::state::Ops;
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::store::{Filter, List, Store, StoreError};
use protocol::AppId;
use protocol::UnixMillis;

/// How long a page waits for the store.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How many rows a page of a list has.
pub(crate) const PAGE_ROWS: u32 = 50;

/// A page, or why it is not there.
pub(crate) type Paged = Result<Response, PageError>;

/// What a page reads from. It has one of the readers' turns, so it asks one thing after the other.
pub(crate) struct Reading<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) now: UnixMillis,
    _turn: PageTurn<'a>,
}

impl<'a> Reading<'a> {
    pub(crate) async fn of(ops: &'a Ops) -> Result<Self, PageError> {
        let handle = ops.store_handle.get().ok_or(PageError::Starting)?;
        let store = handle.store.as_deref().ok_or(PageError::NoStore)?;
        let turn = ops.reading.page().await.ok_or(PageError::Busy)?;
        Ok(Self { store, now: ops.clock.now(), _turn: turn })
    }
}

/// Gives up a page that the store takes too long for.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    let made = tokio::time::timeout(READ_TIMEOUT, next.run(request)).await;
    made.unwrap_or_else(|_| PageError::TimedOut.into_response())
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
    Ok(Html(page.render().map_err(PageError::Broken)?).into_response())
}

/// A page of a list, and what leads to its others.
pub(crate) struct ListPage<T> {
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
) -> Result<ListPage<L::Row>, StoreError> {
    if !form.is_good() {
        return Ok(ListPage { rows: Vec::new(), older: None, is_later: false });
    }
    let behind: Option<L::Place> = cursor::parse(&form.action, query.get(after));
    let is_later = behind.is_some();
    let (rows, end) = list.part(store, (behind, PAGE_ROWS)).await?;
    let older = end.and_then(|end| cursor::format(&form.action, &end));
    Ok(ListPage { rows, older: older.map(|cursor| form.behind(after, &cursor)), is_later })
}

/// A list, with the form above it and the page that was asked for.
pub(crate) struct Listed<F: List> {
    pub(crate) filter: F,
    pub(crate) form: Form,
    pub(crate) rows: Vec<F::Row>,
    pub(crate) older: Option<String>,
    pub(crate) is_later: bool,
    pub(crate) now: UnixMillis,
}

/// Reads the page of the list at `path` that a query asks for.
pub(crate) async fn listed<F: Filter + Default + List<Place: Cursor>>(
    ops: &Ops,
    path: &str,
    query: Option<&str>,
) -> Result<Listed<F>, PageError> {
    let reading = Reading::of(ops).await?;
    let query = Query::read(query);
    let mut asked = FormBuilder::new(path, &query, reading.now);
    let filter = asked.filter(F::default(), &ops.apps, &[]);
    let form = asked.done(&["after"]);
    let ListPage { rows, older, is_later } =
        shown(reading.store, &filter, (&form, &query, "after")).await?;
    Ok(Listed { filter, form, rows, older, is_later, now: reading.now })
}

/// The app in a path.
pub(crate) fn app(text: &str) -> Result<AppId, PageError> {
    AppId::parse(text).ok_or_else(|| PageError::NotFound(format!("“{text}” is not an app id.")))
}
