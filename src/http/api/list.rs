//! Lists: a page of JSON, or the whole of it as CSV or NDJSON, which is read as fast as the client takes it.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use crate::export;
use crate::http::access::audit::ExportRecord;
use crate::http::api::columns::columns;
use crate::http::api::params::{Form, LIMIT_MAX, PageRequest};
use crate::http::cursor::{self, Cursor};
use crate::http::ops::read_limiter::ReadLimiter;
use crate::http::problem::Problem;
use crate::store::List;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items<T: ToSchema> {
    /// The rows. A page may have fewer than `limit`, or none, although more follow.
    pub(crate) items: Vec<T>,
    /// The `cursor` of the next page; null on the last page.
    pub(crate) next: Option<String>,
}

/// A list that can be answered with.
pub(crate) trait Answered: List<Row: Serialize + ToSchema, Place: Cursor> + 'static {}

impl<L> Answered for L where L: List<Row: Serialize + ToSchema, Place: Cursor> + 'static {}

/// Answers with a part of `list` in the form that was asked for.
pub(crate) async fn answer<L: Answered>(
    reading: &Arc<ReadLimiter>,
    page: &PageRequest,
    list: L,
) -> Result<Response, Problem> {
    answer_as(reading, page, list, &L::Row::name()).await
}

/// The same of a list that has a `name` of its own in its cursors, which are of no use in another.
pub(crate) async fn answer_as<L: Answered>(
    reading: &Arc<ReadLimiter>,
    page: &PageRequest,
    list: L,
    name: &str,
) -> Result<Response, Problem> {
    let after = page.after(name)?;
    if page.form == Form::Json {
        let store = reading.store()?;
        let (items, end) = reading.ask(list.part(&*store, (after, page.rows()))).await?;
        let items = Items { items, next: end.and_then(|end| cursor::format(name, &end)) };
        return self::page(reading, &items);
    }
    let export = Export {
        seat: reading.export()?,
        record: page.record(),
        reading: reading.clone(),
        left: page.rows_in_all(),
        after,
        columns: columns::<L::Row>(),
        form: page.form,
        begun: false,
        done: false,
        list,
    };
    let (kind, ending) = match page.form {
        Form::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Form::Json | Form::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let file = format!("attachment; filename=\"{}.{ending}\"", file_name(&L::Row::name()));
    // The first part is read before it is said that all is well.
    let (first, export) = export.next().await?;
    let rest = stream::try_unfold((first, Some(export)), |(ready, export)| async move {
        if let Some(ready) = ready {
            return Ok(Some((ready, (None, export))));
        }
        let mut under_way = export;
        while let Some(mut export) = under_way {
            if export.done {
                export.record.is_whole();
                break;
            }
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
    let mut response = (kind, Body::from_stream(rest)).into_response();
    if let Ok(file) = HeaderValue::try_from(file) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, file);
    }
    Ok(response)
}

/// A page as JSON.
pub(crate) fn page<T: Serialize + ToSchema>(
    reading: &ReadLimiter,
    items: &Items<T>,
) -> Result<Response, Problem> {
    let body = serde_json::to_vec(items).map_err(|error| unwritten(&error))?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let length = [(header::CONTENT_LENGTH, HeaderValue::from(body.len()))];
    Ok((kind, length, reading.body(body.into())?).into_response())
}

/// The name that a browser gives the file of an export, without its ending.
fn file_name(row: &str) -> &'static str {
    match row {
        "Event" => "events",
        "Call" | "UserCall" => "calls",
        "Room" => "room_sessions",
        "LiveRoom" => "live_sessions",
        "Visit" | "UserVisit" => "visits",
        "GiftRow" => "gifts",
        "RtcRoomSession" => "rtc_room_sessions",
        "RtcStay" => "rtc_stays",
        "RtcPublishInterval" => "rtc_publish_intervals",
        "Recording" => "recordings",
        "RtcTask" => "rtc_tasks",
        "Anomaly" => "anomalies",
        "ExceptionView" => "delivery_exceptions",
        "Count" => "statistics",
        _ => "list",
    }
}

/// A value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| unwritten(&error))?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((kind, body).into_response())
}

fn unwritten(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "an answer was not written");
    Problem::internal()
}

/// An export under way: where it is, and what is asked for.
struct Export<L: List> {
    /// Its place among those that may be under way at once.
    seat: OwnedSemaphorePermit,
    reading: Arc<ReadLimiter>,
    list: L,
    after: Option<L::Place>,
    left: Option<u32>,
    columns: Vec<String>,
    form: Form,
    begun: bool,
    done: bool,
    /// What the log says of it.
    record: ExportRecord,
}

impl<L: Answered> Export<L> {
    /// Reads one more part, and gives it as text; `None` where it has no rows.
    async fn next(mut self) -> Result<(Option<Bytes>, Self), Problem> {
        let limit = self.left.map_or(LIMIT_MAX, |left| left.min(LIMIT_MAX));
        let store = self.reading.store()?;
        let question = self.list.part(&*store, (self.after.take(), limit));
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
        self.record.add(items.len(), bytes.len());
        let _held = &self.seat;
        Ok((Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()), self))
    }
}
