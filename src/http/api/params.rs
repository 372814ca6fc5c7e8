//! Query parameters: the conditions of a list, its pages and its format.

use std::marker::PhantomData;

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Required, Schema};

use crate::http::access::audit::{ExportRecord, Reader};
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::store::{Condition, ConditionKind, Filter, filter};
use protocol::AppId;

/// Rows of a page, by default and at most.
const LIMIT: u32 = 50;
pub(crate) const LIMIT_MAX: u32 = 500;
/// Maximum length of a parameter, in characters.
pub(crate) const TEXT_CHARS_MAX: usize = 1000;

/// The parameters of a filter, in the API's document.
pub(crate) struct QueryOf<F>(PhantomData<F>);

impl<F: Filter> IntoParams for QueryOf<F> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        F::conditions().into_iter().map(parameter).collect()
    }
}

fn parameter(condition: &Condition) -> Parameter {
    ParameterBuilder::new()
        .name(condition.name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(condition.help()))
        .schema(Some(schema(condition.kind)))
        .build()
}

/// The schema of a parameter, exactly as strict as the server.
fn schema(kind: ConditionKind) -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
    let schema = match kind {
        ConditionKind::Text => text().min_length(Some(1)).max_length(Some(TEXT_CHARS_MAX)),
        ConditionKind::OneOf(words) => text().enum_values(Some(words.iter().copied())),
        ConditionKind::Flag(_) => ObjectBuilder::new().schema_type(Type::Boolean),
        ConditionKind::App => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1))
            .maximum(Some(i64::MAX)),
        ConditionKind::Command => {
            text().pattern(Some(r"^[A-Za-z0-9]+\.[A-Za-z0-9]+$")).max_length(Some(255))
        }
        ConditionKind::Time => {
            let times = AnyOfBuilder::new()
                .item(format(KnownFormat::Date))
                .item(format(KnownFormat::DateTime))
                .item(text().pattern(Some("^[0-9]{1,4}[smhdw]$")));
            return Schema::AnyOf(times.build()).into();
        }
    };
    schema.build().into()
}

/// Forms of a list.
const FORMATS: &[&str] = &["json", "csv", "ndjson"];

filter! {
    /// Parameters of every list.
    #[derive(Debug, Default)]
    pub(crate) struct ListQuery {
        /// Maximum number of rows. Of a page: 1 to 500, by default 50. Of an export (`csv`, `ndjson`): of the whole list, by
        /// default unlimited.
        "limit" "" ConditionKind::Text => limit: Option<String>,
        /// The `next` of the previous page.
        "cursor" "" ConditionKind::Text => cursor: Option<String>,
        /// Format of the response. `csv` and `ndjson` return the whole list, not a page. Default: the `Accept` header.
        "format" "" ConditionKind::OneOf(FORMATS) => format: Option<String>,
    }
}

filter! {
    /// Parameters of a list without pages.
    #[derive(Debug, Default)]
    pub(crate) struct FormatQuery {
        /// Format of the response. Default: the `Accept` header.
        "format" "" ConditionKind::OneOf(FORMATS) => format: Option<String>,
    }
}

/// Format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One page of JSON.
    Json,
    /// The whole list, one row per line.
    Csv,
    /// The whole list, one JSON object per line.
    Ndjson,
}

/// The requested part of a list, and its format.
#[derive(Debug)]
pub(crate) struct PageRequest {
    pub(crate) form: Form,
    /// How many rows; of an export all without it.
    limit: Option<u32>,
    cursor: Option<String>,
    reader: Reader,
    /// The names of the parameters beside those of every list.
    filters: String,
}

impl PageRequest {
    /// The part that a query and the header `Accept` ask for. Whole lists are for those only who may export.
    pub(crate) fn read(
        query: ListQuery,
        headers: &HeaderMap,
        reader: Reader,
        filters: String,
    ) -> Result<Self, Problem> {
        let form = match query.format.as_deref() {
            Some("csv") => Form::Csv,
            Some("ndjson") => Form::Ndjson,
            Some(_) => Form::Json,
            None => accepted(headers),
        };
        let most = if form == Form::Json { LIMIT_MAX } else { u32::MAX };
        let limit = |text: String| {
            let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
            limit.ok_or_else(|| {
                let hint = format!("give 1 to {most}");
                Problem::parameter("limit", "`limit` is not a number in its range", &hint)
            })
        };
        let limit = query.limit.map(limit).transpose()?;
        if form != Form::Json {
            reader.may_export()?;
        }
        Ok(Self { form, limit, cursor: query.cursor, reader, filters })
    }

    /// The cursor, as given.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The same for a list that read the cursor itself.
    pub(crate) fn without_cursor(&self) -> Self {
        let (reader, filters) = (self.reader.clone(), self.filters.clone());
        Self { form: self.form, limit: self.limit, cursor: None, reader, filters }
    }

    /// An export that begins now, for the log.
    pub(crate) fn record(&self) -> ExportRecord {
        let format = if self.form == Form::Csv { "csv" } else { "ndjson" };
        ExportRecord::begin(&self.reader, format, &self.filters)
    }

    /// How many rows a page of JSON has.
    pub(crate) fn rows(&self) -> u32 {
        self.limit.unwrap_or(LIMIT)
    }

    /// How many rows an export has; `None` for all.
    pub(crate) fn rows_in_all(&self) -> Option<u32> {
        self.limit
    }

    /// Where the list `name` goes on; `None` for its begin.
    pub(crate) fn after<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let after = cursor::parse(name, cursor).ok_or_else(|| {
            let hint = "pass the `next` of the previous page unchanged, or omit it";
            Problem::parameter("cursor", "invalid `cursor`: it is not from this list", hint)
        })?;
        Ok(Some(after))
    }
}

/// The form `Accept` asks for by name first.
fn accepted(headers: &HeaderMap) -> Form {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = all.flat_map(|line| line.split(',')).map(|kind| {
        kind.split_once(';').map_or(kind, |(kind, _)| kind).trim().to_ascii_lowercase()
    });
    let form = kinds.find_map(|kind| match kind.as_str() {
        "application/json" => Some(Form::Json),
        "text/csv" => Some(Form::Csv),
        "application/x-ndjson" | "application/jsonl" => Some(Form::Ndjson),
        _ => None,
    });
    form.unwrap_or(Form::Json)
}

/// An app's id in a path.
pub(crate) fn app_of_path(text: &str) -> Result<AppId, Problem> {
    AppId::parse(text).ok_or_else(|| {
        let hint = "give its digits, such as 1400000001";
        Problem::parameter("app", "`app` is not a valid SDKAppID", hint)
    })
}

#[cfg(test)]
mod tests {
    use crate::http::api::params::*;

    #[test]
    fn a_cursor_is_valid_only_for_its_list() {
        let page = |cursor| PageRequest {
            form: Form::Json,
            limit: None,
            cursor,
            reader: Reader::of_test(),
            filters: String::new(),
        };
        let after = (1_i64, "x".to_owned());
        let written = cursor::format("calls", &after);
        assert_eq!(page(written.clone()).after("calls").unwrap(), Some(after));
        assert!(page(written.clone()).after::<(i64, String)>("rooms").is_err());
        assert!(page(written).after::<i64>("calls").is_err());
        assert!(page(Some("x".into())).after::<i64>("calls").is_err());
        assert_eq!(page(None).after::<i64>("calls").unwrap(), None);
    }

    #[test]
    fn the_first_known_format_in_accept_is_used() {
        let form = |accept: &'static str| {
            let headers =
                [(header::ACCEPT, axum::http::HeaderValue::from_static(accept))].into_iter();
            accepted(&headers.collect())
        };
        assert_eq!(form("text/csv"), Form::Csv);
        assert_eq!(form("text/html, application/x-ndjson;q=0.9, */*"), Form::Ndjson);
        assert_eq!(form("application/json, text/csv"), Form::Json);
        assert_eq!(form("*/*"), Form::Json);
    }
}
