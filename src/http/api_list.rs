//! Lists: a page of JSON, or the whole of it as CSV or NDJSON, which is read as fast as the client takes it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::api_openapi;
use super::api_problem::Problem;
use super::api_query::{Form, LIMIT_MAX, Page, cursor};
use super::reading::Reading;
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
            Form::Csv => csv(&self.columns, &items, !self.begun)?,
            Form::Json | Form::Ndjson => ndjson(&items)?,
        };
        self.begun = true;
        let _held = &self.seat;
        Ok((Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()), self))
    }
}

fn ndjson<T: Serialize>(items: &[T]) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    for item in items {
        serde_json::to_writer(&mut text, item).map_err(|error| unwritten(&error))?;
        text.push(b'\n');
    }
    Ok(text)
}

fn csv<T: Serialize>(columns: &[String], items: &[T], head: bool) -> Result<Vec<u8>, Problem> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    if head {
        lines.write_record(columns).map_err(|error| unwritten(&error))?;
    }
    for item in items {
        // By its text, never by a `Value`, which would round numbers, and refuses what is nested deeply.
        let text = serde_json::to_string(item).map_err(|error| unwritten(&error))?;
        let row: HashMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(&text).map_err(|error| unwritten(&error))?;
        let cells = columns.iter().map(|column| cell(row.get(column.as_str()).copied()));
        lines.write_record(cells).map_err(|error| unwritten(&error))?;
    }
    lines.into_inner().map_err(|error| unwritten(&error))
}

/// A cell's text. Users choose ids and names: a program that shows the table must not take one for a formula.
fn cell(value: Option<&RawValue>) -> String {
    let raw = value.map_or("null", RawValue::get);
    if raw == "null" {
        return String::new();
    }
    // Half of a surrogate pair makes a string that is no text: such a one stays as it came.
    match serde_json::from_str::<String>(raw) {
        Ok(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Ok(text) => text,
        Err(_) => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cell_of(value: &Value) -> String {
        cell(Some(&RawValue::from_string(value.to_string()).unwrap()))
    }

    #[test]
    fn a_cell_is_no_formula() {
        for text in ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"] {
            assert_eq!(cell_of(&json!(text)), format!("'{text}"));
        }
        assert_eq!(cell_of(&json!(-1)), "-1");
        assert_eq!(cell_of(&json!("a=1")), "a=1");
        assert_eq!(cell_of(&json!(["a", 1])), r#"["a",1]"#);
        assert_eq!(cell_of(&Value::Null), "");
        assert_eq!(cell(None), "");
    }

    #[test]
    fn a_cell_of_json_is_what_came() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let twice = r#"{"UserId":12345678901234567890123456789,"a":1,"a":2}"#;
        for text in [twice, &deep, r#""\ud800""#] {
            let row = RawValue::from_string(format!("{{\"a\":{text}}}")).unwrap();
            let lines = csv(&["a".to_owned()], &[row], false).unwrap();
            let mut lines = csv::ReaderBuilder::new().has_headers(false).from_reader(&*lines);
            assert_eq!(&lines.records().next().unwrap().unwrap()[0], text);
        }
    }

    #[test]
    fn a_table_has_a_head_once_and_quotes_what_needs_it() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let rows = [json!({"b": "x,\"y\"\n", "c": 1}), json!({"a": true})];
        let text = |head| String::from_utf8(csv(&columns, &rows, head).unwrap()).unwrap();
        assert_eq!(text(true), "a,b\n,\"x,\"\"y\"\"\n\"\ntrue,\n");
        assert_eq!(text(false), ",\"x,\"\"y\"\"\n\"\ntrue,\n");
        assert_eq!(csv::<Value>(&columns, &[], true).unwrap(), b"a,b\n");
    }
}
