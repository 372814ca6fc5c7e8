//! Anomalies, figures over time, and what an id names.

use std::time::Duration;

use axum::response::Response;

use crate::http::api::list;
use crate::http::api::list::Items;
use crate::http::api::params::{FormatQuery, ListQuery, QueryOf};
use crate::http::api::request::ApiRequest;
use crate::http::problem::Problem;
use crate::store::{
    Anomaly, AnomalyFilter, ConditionKind, Count, CountBy, CountFilter, SearchHit, Step, filter,
};
use protocol::AppId;
use protocol::UnixMillis;

/// Anomalies: gaps in what the vendor sent, newest first.
#[utoipa::path(get, path = "/anomalies", tag = "figures", params(QueryOf<(AnomalyFilter, ListQuery)>),
    responses((status = 200, body = list::Items<Anomaly>)))]
pub(crate) async fn anomalies(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(AnomalyFilter::default()).await
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

/// Event counts over time, oldest first. Steps without events are omitted.
#[utoipa::path(get, path = "/statistics", tag = "figures", params(QueryOf<(StatisticsQuery, FormatQuery)>),
    responses((status = 200, body = Items<Count>)))]
pub(crate) async fn statistics(request: ApiRequest) -> Result<Response, Problem> {
    let query = (StatisticsQuery::default(), FormatQuery::default());
    let (query, FormatQuery { format }) = request.read(query)?;
    let page = request.page(ListQuery { format, ..ListQuery::default() })?;
    list::answer(&request.ops.reading, &page, query.filter(request.now)?).await
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
#[utoipa::path(get, path = "/search", tag = "figures", params(("id" = String, Query, description = "A complete call id, room id, `CommId`, account or event id")),
    responses((status = 200, body = Items<SearchHit>)))]
pub(crate) async fn search(request: ApiRequest) -> Result<Response, Problem> {
    let query = request.read(SearchQuery::default())?;
    let id = query.id.ok_or_else(|| {
        Problem::parameter("id", "`id` is missing", "give a call id, room id, account or event id")
    })?;
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let items = reading.ask(store.find(&id)).await?;
    list::json(&Items { items, next: None })
}
