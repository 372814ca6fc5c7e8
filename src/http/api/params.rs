//! Parsing of query parameters: filters, pagination and response format.

use std::fmt::Write;

use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::IntoParams;

use crate::callback::{AppId, Command};
use crate::clock::{TIME_HINT, UnixMillis};
use crate::http::cursor;
use crate::http::ops::path_segment::storable;
use crate::http::problem::Problem;

/// Rows of a page, by default and at most.
const LIMIT: u32 = 50;
pub(crate) const LIMIT_MAX: u32 = 500;
/// Maximum length of a parameter, in characters.
pub(crate) const TEXT_CHARS_MAX: usize = 1000;

/// The query parameters of a request, as text.
pub(crate) struct QueryParams(Map<String, Value>);

impl QueryParams {
    /// Parses a query string. Empty values count as absent, as forms send them.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut asked = Map::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
            if value.chars().count() > TEXT_CHARS_MAX {
                let detail = format!("`{}` is too long", shown(&name));
                let hint = format!("give at most {TEXT_CHARS_MAX} characters");
                return Err(Problem::parameter(shown(&name), detail, &hint));
            }
            let name = name.into_owned();
            if asked.contains_key(&name) {
                let detail = format!("duplicate parameter `{}`", shown(&name));
                return Err(Problem::parameter(shown(&name), detail, "give it once"));
            }
            if !value.is_empty() {
                asked.insert(name, Value::String(storable(&value)));
            }
        }
        Ok(Self(asked))
    }

    /// The parameters of `P`, and no others.
    pub(crate) fn only<P: DeserializeOwned + IntoParams>(self) -> Result<P, Problem> {
        self.check(&names::<P>())?;
        self.take()
    }

    /// The parameters of `P` and `Q`, and no others.
    pub(crate) fn both<P, Q>(self) -> Result<(P, Q), Problem>
    where
        P: DeserializeOwned + IntoParams,
        Q: DeserializeOwned + IntoParams,
    {
        self.check(&[names::<P>(), names::<Q>()].concat())?;
        Ok((Self(self.0.clone()).take()?, self.take()?))
    }

    /// The parameters of `P`, and those of every list.
    pub(crate) fn list<P>(self, headers: &HeaderMap) -> Result<(P, Page), Problem>
    where
        P: DeserializeOwned + IntoParams,
    {
        let known = [names::<P>(), names::<ListQuery>()].concat();
        self.check(&known)?;
        let page = Page::read(&Self(self.0.clone()).take()?, headers)?;
        Ok((self.take()?, page))
    }

    /// The parameters of `P`, and that of a list without pages.
    pub(crate) fn whole<P>(self, headers: &HeaderMap) -> Result<(P, Page), Problem>
    where
        P: DeserializeOwned + IntoParams,
    {
        let known = [names::<P>(), names::<FormQuery>()].concat();
        self.check(&known)?;
        let FormQuery { format } = Self(self.0.clone()).take()?;
        let page = Page::read(&ListQuery { limit: None, cursor: None, format }, headers)?;
        Ok((self.take()?, page))
    }

    /// Rejects unknown parameters: ignoring one would answer another question.
    fn check(&self, known: &[String]) -> Result<(), Problem> {
        let Some(name) = self.0.keys().find(|name| !known.contains(name)) else {
            return Ok(());
        };
        let name = shown(name);
        let mut hint = String::new();
        let near = known.iter().map(|known| (strsim::osa_distance(known, name), known));
        if let Some((_, near)) = near.filter(|(far, _)| *far <= 2).min() {
            let _ = write!(hint, "did you mean `{near}`? ");
        }
        let _ = match known {
            [] => write!(hint, "this endpoint takes no parameters"),
            known => write!(hint, "known parameters: {}", known.join(", ")),
        };
        Err(Problem::parameter(name, format!("unknown parameter `{name}`"), &hint))
    }

    fn take<P: DeserializeOwned>(self) -> Result<P, Problem> {
        serde_json::from_value(Value::Object(self.0)).map_err(|error| {
            tracing::error!(%error, "parameters of a request were not read");
            Problem::internal()
        })
    }
}

/// The part of a foreign name that an error repeats.
fn shown(name: &str) -> &str {
    name.char_indices().nth(40).map_or(name, |(end, _)| &name[..end])
}

fn names<P: IntoParams>() -> Vec<String> {
    P::into_params(|| None).into_iter().map(|parameter| parameter.name).collect()
}

/// No parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NoQuery {}

/// Parameters of every list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Maximum number of rows. Of a page: 1 to 500, by default 50. Of an export (`csv`, `ndjson`): of the whole list, by
    /// default unlimited.
    #[param(value_type = Option<i64>)]
    limit: Option<String>,
    /// The `next` of the previous page.
    cursor: Option<String>,
    /// Format of the response. `csv` and `ndjson` return the whole list, not a page. Default: the `Accept` header.
    #[param(value_type = Option<Form>)]
    format: Option<String>,
}

/// Parameters of a list without pages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FormQuery {
    /// Format of the response. Default: the `Accept` header.
    #[param(value_type = Option<Form>)]
    format: Option<String>,
}

/// Format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
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
pub(crate) struct Page {
    pub(crate) form: Form,
    /// How many rows; of an export all without it.
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Page {
    fn read(query: &ListQuery, headers: &HeaderMap) -> Result<Self, Problem> {
        let form = match query.format.as_deref() {
            Some("json") => Form::Json,
            Some("csv") => Form::Csv,
            Some("ndjson") => Form::Ndjson,
            Some(_) => {
                let detail = "unknown value of `format`";
                return Err(Problem::parameter("format", detail, "expected json, csv or ndjson"));
            }
            None => accepted(headers),
        };
        let most = if form == Form::Json { LIMIT_MAX } else { u32::MAX };
        let limit = |text: &String| {
            let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
            limit.ok_or_else(|| {
                let hint = format!("give 1 to {most}");
                Problem::parameter("limit", "`limit` is not a number in its range", &hint)
            })
        };
        let limit = query.limit.as_ref().map(limit).transpose()?;
        Ok(Self { form, limit, cursor: query.cursor.clone() })
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

/// A time, a moment or an age.
fn time(name: &str, text: Option<&String>, now: UnixMillis) -> Result<Option<UnixMillis>, Problem> {
    let wrong = || Problem::parameter(name, format!("`{name}` is not a valid time"), TIME_HINT);
    text.map(|text| UnixMillis::parse(text, now).ok_or_else(wrong)).transpose()
}

/// From when, and until when.
pub(crate) fn span(
    since: Option<&String>,
    until: Option<&String>,
    now: UnixMillis,
) -> Result<[Option<UnixMillis>; 2], Problem> {
    let span = [time("since", since, now)?, time("until", until, now)?];
    if let [Some(since), Some(until)] = span
        && since > until
    {
        let detail = format!("`since` is {since}, later than `until`, {until}");
        return Err(Problem::parameter("since", detail, "give the earlier one as `since`"));
    }
    Ok(span)
}

/// The stored name of a command.
pub(crate) fn command(name: Option<&String>) -> Result<Option<String>, Problem> {
    let meant = |name: &String| match Command::meant(name) {
        Ok(name) => Ok(name.into_owned()),
        Err(hint) => Err(Problem::parameter("command", "unknown command", &hint)),
    };
    name.map(meant).transpose()
}

/// An app's id in a parameter.
pub(crate) fn app(text: Option<&String>) -> Result<Option<AppId>, Problem> {
    text.map(|text| app_of_path(text)).transpose()
}

/// An app's id in a path.
pub(crate) fn app_of_path(text: &str) -> Result<AppId, Problem> {
    AppId::parse(text).ok_or_else(|| {
        Problem::parameter(
            "app",
            "`app` is not a valid SDKAppID",
            "give its digits, such as 1400000001",
        )
    })
}

/// One of a few words; all of them where nothing is given.
pub(crate) fn one_of(
    name: &str,
    text: Option<String>,
    words: &[&str],
) -> Result<Option<String>, Problem> {
    if text.as_deref().is_some_and(|text| !words.contains(&text)) {
        let detail = format!("unknown value of `{name}`");
        return Err(Problem::parameter(
            name,
            detail,
            &format!("expected one of {}", words.join(", ")),
        ));
    }
    Ok(text)
}

/// Yes or no.
pub(crate) fn flag(name: &str, text: Option<&String>) -> Result<Option<bool>, Problem> {
    let read = |text: &String| match text.as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => {
            let detail = format!("`{name}` is neither true nor false");
            Err(Problem::parameter(name, detail, "expected true or false"))
        }
    };
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use crate::http::api::params::*;

    #[test]
    fn a_cursor_is_of_its_own_list() {
        let page = |cursor| Page { form: Form::Json, limit: None, cursor };
        let after = (1_i64, "x".to_owned());
        let written = cursor::format("calls", &after);
        assert_eq!(page(written.clone()).after("calls").unwrap(), Some(after));
        assert!(page(written.clone()).after::<(i64, String)>("rooms").is_err());
        assert!(page(written).after::<i64>("calls").is_err());
        assert!(page(Some("x".into())).after::<i64>("calls").is_err());
        assert_eq!(page(None).after::<i64>("calls").unwrap(), None);
    }

    #[test]
    fn the_first_form_that_is_there_is_taken() {
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
