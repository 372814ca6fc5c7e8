//! Lists: a page of JSON, or the whole of it as CSV or NDJSON, which is read as fast as the client takes it.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::api_openapi;
use super::api_problem::Problem;
use super::api_query::{Form, LIMIT_MAX, Page, cursor};
use super::reading::Reading;
use crate::export;
use crate::store::{Store, StoreError};

/// A list that is read in pages.
#[async_trait]
pub(super) trait Listing: Send + Sync + 'static {
    /// A row.
    type Item: Serialize + Send + 'static;
    /// The place of a row in the list.
    type After: Serialize + DeserializeOwned + Send + 'static;
    /// What the schema of a row is called.
    const ITEM: &'static str;

    /// What the list is called in its cursors, which are of no use in another.
    fn name(&self) -> String {
        Self::ITEM.to_owned()
    }

    /// At most `limit` rows behind `after`, and behind which place to go on; `None` at the end of the list.
    async fn read(
        &self,
        store: &dyn Store,
        after: Option<Self::After>,
        limit: u32,
    ) -> Result<Part<Self>, StoreError>;
}

/// Rows, and behind which place to go on.
pub(super) type Part<L> = (Vec<<L as Listing>::Item>, Option<<L as Listing>::After>);

/// A part of a list of which one row more than `limit` was read where there are more.
pub(super) fn part<T, P>(mut items: Vec<T>, limit: u32, place: fn(&T) -> P) -> (Vec<T>, Option<P>) {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let end = items.last().filter(|_| more).map(place);
    (items, end)
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T: ToSchema> {
    /// The rows. May be fewer than asked for, or none, although there are more.
    pub(super) items: Vec<T>,
    /// The `cursor` that gives the next page; null on the last.
    pub(super) next: Option<String>,
}

/// Answers with a part of `list` in the form that was asked for.
pub(super) async fn answer<L>(
    reading: &Arc<Reading>,
    page: &Page,
    list: L,
) -> Result<Response, Problem>
where
    L: Listing,
    L::Item: ToSchema,
{
    let after = page.after(&list.name())?;
    if page.form == Form::Json {
        let store = reading.store()?;
        let (items, end) = reading.ask(list.read(&*store, after, page.rows())).await?;
        let next = end.and_then(|end| cursor(&list.name(), &end));
        return json(&Items { items, next });
    }
    let export = Export {
        seat: reading.export()?,
        reading: reading.clone(),
        left: page.rows_in_all(),
        after,
        columns: api_openapi::columns(L::ITEM),
        form: page.form,
        begun: false,
        done: false,
        list,
    };
    let kind = match page.form {
        Form::Csv => "text/csv; charset=utf-8; header=present",
        Form::Json | Form::Ndjson => "application/x-ndjson",
    };
    // The first part is read before it is said that all is well.
    let (first, export) = export.next().await?;
    let rest = stream::try_unfold((first, Some(export)), |(ready, export)| async move {
        if let Some(ready) = ready {
            return Ok(Some((ready, (None, export))));
        }
        let mut under_way = export;
        while let Some(export) = under_way.filter(|export| !export.done) {
            // Where it fails the answer breaks off, so that nobody takes a part for the whole.
            let (bytes, export) = export.next().await?;
            under_way = Some(export);
            if let Some(bytes) = bytes {
                return Ok(Some((bytes, (None, under_way))));
            }
        }
        Ok::<_, Problem>(None)
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    Ok((kind, Body::from_stream(rest)).into_response())
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| unwritten(&error))?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((kind, body).into_response())
}

fn unwritten(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "an answer was not written");
    Problem::internal()
}

/// An export under way: where it is, and what is asked for.
struct Export<L: Listing> {
    /// Its place among those that may be under way at once.
    seat: OwnedSemaphorePermit,
    reading: Arc<Reading>,
    list: L,
    after: Option<L::After>,
    left: Option<u32>,
    columns: Vec<String>,
    form: Form,
    begun: bool,
    done: bool,
}

impl<L: Listing> Export<L> {
    /// Reads one more part, and gives it as text; `None` where it has no rows.
    async fn next(mut self) -> Result<(Option<Bytes>, Self), Problem> {
        let limit = self.left.map_or(LIMIT_MAX, |left| left.min(LIMIT_MAX));
        let store = self.reading.store()?;
        let question = self.list.read(&*store, self.after.take(), limit);
        let (items, end) = self.reading.ask_patiently(question).await?;
        self.left = self.left.map(|left| left - items.len().try_into().unwrap_or(left));
        self.done = end.is_none() || self.left == Some(0);
        self.after = end;
        let bytes = match self.form {
            Form::Csv => export::csv(&self.columns, &items, !self.begun),
            Form::Json | Form::Ndjson => export::ndjson(&items),
        };
        let bytes = bytes.map_err(|error| unwritten(&error))?;
        self.begun = true;
        let _held = &self.seat;
        Ok((Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()), self))
    }
}
