//! Anomalies, figures over time, and what an id names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::clock::UnixMillis;
use crate::http::api::list;
use crate::http::api::list::Items;
use crate::http::api::params;
use crate::http::api::params::{Form, FormQuery, ListQuery, QueryParams};
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{
    ANOMALY_KINDS, Anomaly, AnomalyFilter, Count, CountBy, CountFilter, Found, List, Part, Step,
    Store, StoreError,
};

/// Filters for anomalies.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AnomalyQuery {
    /// Filter by app (`SDKAppID`).
    #[param(value_type = Option<i64>)]
    app: Option<String>,
    /// Filter by kind, such as `call_without_end` or silence.
    kind: Option<String>,
    /// Filter by subject: a call id, a room id or a family.
    subject: Option<String>,
    /// Filter by state: true for resolved, false for open anomalies.
    #[param(value_type = Option<bool>)]
    resolved: Option<String>,
    /// Start of the time range, inclusive: 2026-01-31, RFC 3339, or an age such as 30m, 2h, 7d.
    since: Option<String>,
    /// End of the time range, exclusive.
    until: Option<String>,
}

/// Anomalies: gaps in what the vendor sent, newest first.
#[utoipa::path(get, path = "/anomalies", tag = "figures", params(AnomalyQuery, ListQuery),
    responses((status = 200, body = list::Items<Anomaly>)))]
pub(crate) async fn anomalies(
    State(ops): State<Arc<Ops>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (query, page) = QueryParams::parse(uri.query())?.list::<AnomalyQuery>(&headers)?;
    let now = ops.clock.now();
    let [since, until] = params::span(query.since.as_ref(), query.until.as_ref(), now)?;
    let filter = AnomalyFilter {
        app: params::app(query.app.as_ref())?,
        kind: params::one_of("kind", query.kind, ANOMALY_KINDS)?,
        subject: query.subject,
        resolved: params::flag("resolved", query.resolved.as_ref())?,
        since,
        until,
        ..AnomalyFilter::default()
    };
    list::answer(&ops.reading, &page, filter).await
}

/// Parameters of event counts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatisticsQuery {
    /// Filter by app (`SDKAppID`).
    #[param(value_type = Option<i64>)]
    app: Option<String>,
    /// Start of the time range, rounded down to a step. Default: 60 minutes, 48 hours or 30 days ago. At most 1440 minutes,
    /// 744 hours or 92 days before `until`.
    since: Option<String>,
    /// End of the time range, exclusive. Default: now.
    until: Option<String>,
    /// Length of a step. Minutes are kept for two days.
    #[param(value_type = Option<Step>)]
    step: Option<String>,
    /// Group by.
    #[param(value_type = Option<CountBy>)]
    by: Option<String>,
}

impl StatisticsQuery {
    fn filter(&self, now: UnixMillis) -> Result<CountFilter, Problem> {
        let (step, spans) = match self.step.as_deref() {
            None | Some("minute") => (Step::Minute, 60),
            Some("hour") => (Step::Hour, 48),
            Some("day") => (Step::Day, 30),
            Some(_) => {
                let detail = "unknown value of `step`";
                return Err(Problem::parameter("step", detail, "expected minute, hour or day"));
            }
        };
        let by = match self.by.as_deref() {
            None | Some("family") => CountBy::Family,
            Some("command") => CountBy::Command,
            Some("result") => CountBy::Result,
            Some(_) => {
                let detail = "unknown value of `by`";
                return Err(Problem::parameter("by", detail, "expected family, command or result"));
            }
        };
        let [since, until] = params::span(self.since.as_ref(), self.until.as_ref(), now)?;
        let until = until.unwrap_or(now.plus(Duration::from_millis(1)));
        let since = since.unwrap_or(UnixMillis(until.0.saturating_sub(step.length_ms() * spans)));
        let filter = CountFilter { app: params::app(self.app.as_ref())?, since, until, step, by };
        if filter.is_too_long() {
            let most = step.spans_max();
            let detail = format!("`since` is more than {most} steps before `until`");
            return Err(Problem::parameter(
                "since",
                detail,
                "use a shorter time range or a longer `step`",
            ));
        }
        Ok(filter)
    }
}

struct Counts(CountFilter);

#[async_trait]
impl List for Counts {
    type Row = Count;
    type Place = ();

    async fn part(
        &self,
        store: &dyn Store,
        _after: Option<()>,
        _limit: u32,
    ) -> Result<Part<Self>, StoreError> {
        Ok((store.counts(&self.0).await?, None))
    }
}

/// Event counts over time, oldest first. Steps without events are omitted.
#[utoipa::path(get, path = "/statistics", tag = "figures", params(StatisticsQuery, FormQuery),
    responses((status = 200, body = Items<Count>)))]
pub(crate) async fn statistics(
    State(ops): State<Arc<Ops>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (query, page) = QueryParams::parse(uri.query())?.whole::<StatisticsQuery>(&headers)?;
    let counts = Counts(query.filter(ops.clock.now())?);
    if page.form == Form::Json {
        let store = ops.reading.store()?;
        let items = ops.reading.ask(store.counts(&counts.0)).await?;
        return list::json(&Items { items, next: None });
    }
    list::answer(&ops.reading, &page, counts).await
}

/// Parameters of a search.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// A complete call id, room id, account or event id.
    #[param(required = true)]
    id: Option<String>,
}

/// Calls, rooms, accounts and events with an id, at most 20.
#[utoipa::path(get, path = "/search", tag = "figures", params(SearchQuery),
    responses((status = 200, body = Items<Found>)))]
pub(crate) async fn search(State(ops): State<Arc<Ops>>, uri: Uri) -> Result<Response, Problem> {
    let query = QueryParams::parse(uri.query())?.only::<SearchQuery>()?;
    let id = query.id.ok_or_else(|| {
        Problem::parameter("id", "`id` is missing", "give a call id, room id, account or event id")
    })?;
    let store = ops.reading.store()?;
    let items = ops.reading.ask(store.find(&id)).await?;
    list::json(&Items { items, next: None })
}
