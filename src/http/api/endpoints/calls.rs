//! Calls: the list, one with all that happened in it, and the calls and room visits of a user.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::api::endpoints::events::one::Event;
use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf, app_of_path};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::ops::path_segment;
use crate::http::problem::Problem;
use crate::store::{
    Call, CallFilter, CallStep, DETAILS_MAX, EventFilter, Member, Recording, RtcComparison,
    RtcRoomSession, StoredEvent, Subject, UserCall, UserCallFilter, UserVisit, UserVisitFilter,
    arrivals, call_summary, compare, rtc_sessions_of_call, steps,
};

/// Calls by time of their first event, newest first.
#[utoipa::path(get, path = "/calls", tag = "calls", params(QueryOf<(CallFilter, ListQuery)>),
    responses((status = 200, body = list::Items<Call>)))]
pub(crate) async fn calls(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(CallFilter::default()).await
}

/// A call with its members, recordings, RTC rooms and timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallDetail {
    #[serde(flatten)]
    call: Call,
    /// The call in one English sentence.
    #[schema(example = "ann video-called ben; no answer after 28 s")]
    summary: String,
    /// Callees and participants, by time of their first event.
    members: Vec<Member>,
    /// Recording tasks of the call.
    recordings: Vec<Recording>,
    /// Sessions of the RTC Engine's room in which the call ran, the latest first; the first 20.
    rtc_sessions: Vec<RtcRoomSession>,
    /// The time of each account in the call by the kit and by the media server: members, then others in the room, robots last.
    /// Empty where no session of the room is known.
    rtc_comparison: Vec<RtcComparison>,
    /// The names of the lists above that are truncated: members, recordings, `rtc_sessions` or `rtc_stays`.
    lists_cut: Vec<String>,
    /// The steps of the call.
    steps: Vec<CallStep>,
    /// The events of the call by event time: the first 1000, or the first 8 MiB of bodies.
    timeline: Vec<CallEvent>,
    /// Whether the timeline is truncated: `/api/v1/events?call=` lists all events.
    timeline_cut: bool,
}

/// An event of a call with its order and delay of arrival.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallEvent {
    #[serde(flatten)]
    event: Event,
    /// Position in the order of arrival, from 1.
    arrival: usize,
    /// Delay between event time and arrival in ms; negative if the clocks differ.
    lag_ms: i64,
}

/// A call.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CallPath {
    /// `SDKAppID`.
    #[param(value_type = i64)]
    app: String,
    /// Call id.
    call_id: String,
}

/// One call with its members, recordings, RTC rooms and timeline.
#[utoipa::path(get, path = "/calls/{app}/{call_id}", tag = "calls",
    params(CallPath), responses((status = 200, body = CallDetail)))]
pub(crate) async fn call(
    request: ApiRequest,
    PathOf(CallPath { app, call_id }): PathOf<CallPath>,
) -> Result<Response, Problem> {
    let call_id = path_segment::id(&call_id);
    request.read(())?;
    let app = app_of_path(&app)?;
    let reading = &request.ops.reading;
    let store = reading.store()?;
    let question = async {
        let Some(call) = store.call(app, &call_id).await? else { return Ok(None) };
        let filter = EventFilter::of_call(&call, DETAILS_MAX);
        let events = store.event_page(&filter).await?;
        let members = store.call_members(app, &call_id).await?;
        let recordings = store.recordings(&Subject::Call(app, call_id.clone())).await?;
        let sessions = rtc_sessions_of_call(&*store, &call).await?;
        let keys: Vec<_> = sessions.rows.iter().filter_map(RtcRoomSession::key).collect();
        let stays = store.rtc_stays_of(&keys).await?;
        Ok(Some((call, members, recordings, events, sessions, stays)))
    };
    let found = reading.ask(question).await?;
    let (call, members, recordings, events, sessions, stays) =
        found.ok_or_else(|| Problem::not_found("call not found"))?;
    let cut = [
        ("members", members.is_cut),
        ("recordings", recordings.is_cut),
        ("rtc_sessions", sessions.is_cut),
        ("rtc_stays", stays.is_cut),
    ];
    let is_known = !sessions.rows.is_empty();
    let compared = is_known.then(|| compare(&call, &members.rows, &stays.rows));
    let cut = cut.into_iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| name.to_owned());
    list::json(&CallDetail {
        steps: steps(&call, &members.rows),
        summary: call_summary(&call),
        call,
        members: members.rows,
        recordings: recordings.rows,
        rtc_sessions: sessions.rows,
        rtc_comparison: compared.unwrap_or_default(),
        lists_cut: cut.collect(),
        timeline: timeline(&events.events),
        timeline_cut: events.next.is_some(),
    })
}

/// The events as they are given, each with its place in the order of arrival.
fn timeline(events: &[StoredEvent]) -> Vec<CallEvent> {
    let given = events.iter().zip(arrivals(events)).map(|(event, arrival)| CallEvent {
        event: Event::new(event, true),
        arrival,
        lag_ms: event.received_at.0.saturating_sub(event.event_time.0),
    });
    given.collect()
}

/// A user.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserPath {
    /// `SDKAppID`.
    #[param(value_type = i64)]
    pub(crate) app: String,
    /// Account.
    pub(crate) account: String,
}

/// The room visits of a user, newest first.
#[utoipa::path(get, path = "/users/{app}/{account}/visits", tag = "room sessions",
    params(UserPath, QueryOf<ListQuery>), responses((status = 200, body = list::Items<UserVisit>)))]
pub(crate) async fn user_visits(
    request: ApiRequest,
    PathOf(UserPath { app, account }): PathOf<UserPath>,
) -> Result<Response, Problem> {
    let ((), page) = request.list(())?;
    let (app, account) = (app_of_path(&app)?, path_segment::id(&account));
    let name = format!("UserVisit {} {account}", app.as_i64());
    let filter = UserVisitFilter { app, account, after: None, limit: 0 };
    list::answer_as(&request.ops.reading, &page, filter, &name).await
}

/// The calls of a user, newest first.
#[utoipa::path(get, path = "/users/{app}/{account}/calls", tag = "calls",
    params(UserPath, QueryOf<(UserCallFilter, ListQuery)>), responses((status = 200, body = list::Items<UserCall>)))]
pub(crate) async fn user_calls(
    request: ApiRequest,
    PathOf(UserPath { app, account }): PathOf<UserPath>,
) -> Result<Response, Problem> {
    let filter = UserCallFilter {
        app: app_of_path(&app)?,
        account: path_segment::id(&account),
        direction: None,
        outcome: None,
        after: None,
        limit: 0,
    };
    request.answer(filter).await
}
