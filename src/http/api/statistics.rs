//! Anomalies, figures over time, and what an id names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::callback::AppId;
use crate::clock::UnixMillis;
use crate::http::api::list;
use crate::http::api::list::Items;
use crate::http::api::params;
use crate::http::api::params::{Form, FormatQuery, ListQuery, QueryOf};
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{
    Anomaly, AnomalyFilter, ConditionKind, Count, CountBy, CountFilter, Found, List, Part, Step,
    Store, StoreError, filter,
};

/// Anomalies: gaps in what the vendor sent, newest first.
#[utoipa::path(get, path = "/anomalies", tag = "figures", params(QueryOf<(AnomalyFilter, ListQuery)>),
    responses((status = 200, body = list::Items<Anomaly>)))]
pub(crate) async fn anomalies(
    State(ops): State<Arc<Ops>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (filter, page) = params::list((&uri, &headers), AnomalyFilter::default(), ops.clock.now())?;
    list::answer(&ops.reading, &page, filter).await
}

filter! {
    /// Parameters of event counts.
    #[derive(Debug, Default)]
    pub(crate) struct StatisticsQuery {
        /// Only this app (`SDKAppID`)
        "app" "" ConditionKind::App => app: Option<AppId>,
        /// Start of the time range, rounded down to a step. Default: 60 minutes, 48 hours or 30 days ago. At most 1440
        /// minutes, 744 hours or 92 days before `until`.
        "since" "" ConditionKind::Time => since: Option<UnixMillis>,
        /// End of the time range, exclusive. Default: now.
        "until" "" ConditionKind::Time => until: Option<UnixMillis>,
        /// Length of a step. Minutes are kept for two days. Default: minute.
        "step" "" ConditionKind::OneOf(&["minute", "hour", "day"]) => step: Option<String>,
        /// Group by. Default: family.
        "by" "" ConditionKind::OneOf(&["family", "command", "result"]) => by: Option<String>,
    }
}

impl StatisticsQuery {
    fn filter(&self, now: UnixMillis) -> Result<CountFilter, Problem> {
        let (step, spans) = match self.step.as_deref() {
            Some("hour") => (Step::Hour, 48),
            Some("day") => (Step::Day, 30),
            _ => (Step::Minute, 60),
        };
        let by = match self.by.as_deref() {
            Some("command") => CountBy::Command,
            Some("result") => CountBy::Result,
            _ => CountBy::Family,
        };
        let until = self.until.unwrap_or(now.plus(Duration::from_millis(1)));
        let earliest = UnixMillis(until.0.saturating_sub(step.length_ms() * spans));
        let since = self.since.unwrap_or(earliest);
        let filter = CountFilter { app: self.app, since, until, step, by };
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
#[utoipa::path(get, path = "/statistics", tag = "figures", params(QueryOf<(StatisticsQuery, FormatQuery)>),
    responses((status = 200, body = Items<Count>)))]
pub(crate) async fn statistics(
    State(ops): State<Arc<Ops>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let now = ops.clock.now();
    let (query, page) = params::whole((&uri, &headers), StatisticsQuery::default(), now)?;
    let counts = Counts(query.filter(now)?);
    if page.form == Form::Json {
        let store = ops.reading.store()?;
        let items = ops.reading.ask(store.counts(&counts.0)).await?;
        return list::json(&Items { items, next: None });
    }
    list::answer(&ops.reading, &page, counts).await
}

filter! {
    /// Parameters of a search.
    #[derive(Debug, Default)]
    pub(crate) struct SearchQuery {
        /// What to look for
        "id" "" ConditionKind::Text => id: Option<String>,
    }
}

/// Calls, rooms, accounts and events with an id, at most 20.
#[utoipa::path(get, path = "/search", tag = "figures", params(("id" = String, Query, description = "A complete call id, room id, account or event id")),
    responses((status = 200, body = Items<Found>)))]
pub(crate) async fn search(State(ops): State<Arc<Ops>>, uri: Uri) -> Result<Response, Problem> {
    let query = params::read(&uri, SearchQuery::default(), ops.clock.now())?;
    let id = query.id.ok_or_else(|| {
        Problem::parameter("id", "`id` is missing", "give a call id, room id, account or event id")
    })?;
    let store = ops.reading.store()?;
    let items = ops.reading.ask(store.find(&id)).await?;
    list::json(&Items { items, next: None })
}
