//! Rooms of the RTC Engine: the list of their sessions, one of them, who stayed in it, and what was published.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::api::endpoints::calls::UserPath;
use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf, app_of_path};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{
    Call, DetailFilter, RTC_ROOM_ID_KINDS, Room, RtcPublishFilter, RtcPublishInterval,
    RtcPublishIntervals, RtcRoomFilter, RtcRoomSession, RtcSessionKey, RtcStay, RtcStays,
    RtcStaysOf, rtc_subjects,
};

/// Sessions of the RTC Engine's rooms, by their start, the latest first.
#[utoipa::path(get, path = "/rtc-room-sessions", tag = "rtc room sessions", params(QueryOf<(RtcRoomFilter, ListQuery)>),
    responses((status = 200, body = list::Items<RtcRoomSession>)))]
pub(crate) async fn sessions(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(RtcRoomFilter::default()).await
}

/// Which session of which room of the RTC Engine.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RtcSessionPath {
    /// `SDKAppID`.
    #[param(value_type = i64)]
    app: String,
    /// Room id.
    room_id: String,
    /// Whether the room is named by a number or a text: numeric or string.
    #[param(pattern = "^(numeric|string)$")]
    kind: String,
    /// Which session, or `latest`.
    session: String,
}

/// The session that a path names, by its number or as the `latest`.
async fn find(
    ops: &Ops,
    RtcSessionPath { app, room_id, kind, session }: RtcSessionPath,
) -> Result<RtcRoomSession, Problem> {
    let (app, room_id) = (app_of_path(&app)?, path_segment::id(&room_id));
    if !RTC_ROOM_ID_KINDS.contains(&kind.as_str()) {
        let hint = "give numeric or string";
        return Err(Problem::parameter("kind", "`kind` is no kind of room id", hint));
    }
    let store = ops.reading.store()?;
    let found = if session == "latest" {
        let filter = RtcRoomFilter {
            app: Some(app),
            room_id: Some(room_id),
            room_id_kind: Some(kind),
            limit: 1,
            ..RtcRoomFilter::default()
        };
        ops.reading.ask(store.rtc_room_sessions(&filter)).await?.pop()
    } else {
        let session = session.parse().map_err(|_| {
            let hint = "give `session` as a list has it, or `latest`";
            Problem::parameter("session", "`session` is neither a number nor `latest`", hint)
        })?;
        let key = RtcSessionKey { app, room_id, room_id_kind: kind, session };
        ops.reading.ask(store.rtc_room_session(&key)).await?
    };
    found.ok_or_else(|| Problem::not_found("room not found"))
}

/// One session of a room of the RTC Engine, with what ran in it. Who was inside is in its stays.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RtcRoomDetail {
    #[serde(flatten)]
    session: RtcRoomSession,
    /// Calls in this room at that time, the latest first; the first 20.
    calls: Vec<Call>,
    /// Sessions of conferences and live rooms of this room id at that time, the latest first; the first 20.
    room_sessions: Vec<Room>,
    /// The names of those two lists that are truncated.
    lists_cut: Vec<String>,
}

/// One session of a room of the RTC Engine: `session` is its number, or `latest`.
#[utoipa::path(get, path = "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}", tag = "rtc room sessions",
    params(RtcSessionPath), responses((status = 200, body = RtcRoomDetail)))]
pub(crate) async fn session(
    request: ApiRequest,
    PathOf(path): PathOf<RtcSessionPath>,
) -> Result<Response, Problem> {
    request.read(())?;
    let session = find(&request.ops, path).await?;
    let store = request.ops.reading.store()?;
    let ran = request.ops.reading.ask(rtc_subjects(&*store, &session)).await?;
    let cut = [("calls", ran.calls.is_cut), ("room_sessions", ran.rooms.is_cut)];
    let cut = cut.into_iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| name.to_owned());
    list::json(&RtcRoomDetail {
        session,
        calls: ran.calls.rows,
        room_sessions: ran.rooms.rows,
        lists_cut: cut.collect(),
    })
}

/// The name of a list within one session, for its cursors: `latest` may be another session by the time of the next page.
fn name_within(list: &str, key: &RtcSessionKey) -> String {
    let RtcSessionKey { app, room_id, room_id_kind, session } = key;
    format!("{list} {} {room_id} {room_id_kind} {session}", app.as_i64())
}

/// The key of the session that a path names.
async fn key(ops: &Ops, path: RtcSessionPath) -> Result<RtcSessionKey, Problem> {
    let session = find(ops, path).await?;
    session.key().ok_or_else(|| Problem::not_found("room not found"))
}

/// Who stayed in a room of the RTC Engine, within one of its sessions, the latest first.
#[utoipa::path(get, path = "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}/stays", tag = "rtc room sessions",
    params(RtcSessionPath, QueryOf<(DetailFilter, ListQuery)>), responses((status = 200, body = list::Items<RtcStay>)))]
pub(crate) async fn stays(
    request: ApiRequest,
    PathOf(path): PathOf<RtcSessionPath>,
) -> Result<Response, Problem> {
    let (filter, page) = request.list(DetailFilter::default())?;
    let key = key(&request.ops, path).await?;
    let name = name_within("RtcStay", &key);
    let stays = RtcStays::new(RtcStaysOf::Session(key, filter.account));
    list::answer_as(&request.ops.reading, &page, stays, &name).await
}

/// When camera, microphone and screen were published in a room of the RTC Engine, within one of its sessions, the latest first.
#[utoipa::path(get, path = "/rtc-room-sessions/{app}/{room_id}/{kind}/{session}/publish-intervals",
    tag = "rtc room sessions", params(RtcSessionPath, QueryOf<(RtcPublishFilter, ListQuery)>),
    responses((status = 200, body = list::Items<RtcPublishInterval>)))]
pub(crate) async fn publish_intervals(
    request: ApiRequest,
    PathOf(path): PathOf<RtcSessionPath>,
) -> Result<Response, Problem> {
    let (filter, page) = request.list(RtcPublishFilter::default())?;
    let key = key(&request.ops, path).await?;
    let name = name_within("RtcPublishInterval", &key);
    let intervals = RtcPublishIntervals::new(key, filter);
    list::answer_as(&request.ops.reading, &page, intervals, &name).await
}

/// The stays of a user in the RTC Engine's rooms, newest first.
#[utoipa::path(get, path = "/users/{app}/{account}/rtc-stays", tag = "rtc room sessions",
    params(UserPath, QueryOf<ListQuery>), responses((status = 200, body = list::Items<RtcStay>)))]
pub(crate) async fn user_stays(
    request: ApiRequest,
    PathOf(UserPath { app, account }): PathOf<UserPath>,
) -> Result<Response, Problem> {
    let ((), page) = request.list(())?;
    let (app, account) = (app_of_path(&app)?, path_segment::id(&account));
    let name = format!("RtcStay {} {account}", app.as_i64());
    let stays = RtcStays::new(RtcStaysOf::Account(app, account));
    list::answer_as(&request.ops.reading, &page, stays, &name).await
}
