//! Room sessions and live sessions: the lists, one session of a room, and what happened within it.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::api::list;
use crate::http::api::params::{ListQuery, QueryOf, app_of_path};
use crate::http::api::request::{ApiRequest, PathOf};
use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{
    Battle, DetailFilter, Details, GiftRow, Gifts, Live, LiveRoom, LiveSessions, Recording, Room,
    RoomChangeRow, RoomFilter, RoomKey, RtcRoomSession, Stay, Subject, Visit, Visits,
    rtc_sessions_of_room,
};

/// Sessions of rooms, conferences and live rooms alike, by their start, the latest first.
#[utoipa::path(get, path = "/room-sessions", tag = "room sessions", params(QueryOf<(RoomFilter, ListQuery)>),
    responses((status = 200, body = list::Items<Room>)))]
pub(crate) async fn rooms(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(RoomFilter::default()).await
}

/// Sessions of live rooms, by their start, the latest first.
#[utoipa::path(get, path = "/live-sessions", tag = "live sessions", params(QueryOf<(LiveSessions, ListQuery)>),
    responses((status = 200, body = list::Items<LiveRoom>)))]
pub(crate) async fn live_sessions(request: ApiRequest) -> Result<Response, Problem> {
    request.answer(LiveSessions::default()).await
}

/// Which session of which room.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SessionPath {
    /// `SDKAppID`.
    #[param(value_type = i64)]
    app: String,
    /// Room id.
    room_id: String,
    /// Which session, or `latest`.
    session: String,
}

/// The session that a path names, by its number or as the `latest`; of one family alone where one is given.
async fn find(
    ops: &Ops,
    SessionPath { app, room_id, session }: SessionPath,
    family: Option<&str>,
) -> Result<Room, Problem> {
    let (app, room_id) = (app_of_path(&app)?, path_segment::id(&room_id));
    let store = ops.reading.store()?;
    let found = if session == "latest" {
        let (app, room_id) = (Some(app), Some(room_id));
        let family = family.map(str::to_owned);
        let filter = RoomFilter { app, room_id, family, limit: 1, ..RoomFilter::default() };
        ops.reading.ask(store.rooms(&filter)).await?.pop()
    } else {
        let session = session.parse().map_err(|_| {
            let hint = "give `session` as a list has it, or `latest`";
            Problem::parameter("session", "`session` is neither a number nor `latest`", hint)
        })?;
        let key = RoomKey { app, room_id, session };
        ops.reading.ask(store.room(&key)).await?
    };
    let found = found.filter(|room| family.is_none_or(|family| room.family == family));
    found.ok_or_else(|| Problem::not_found("room not found"))
}

/// One session of a room, with what happened within it. Who was inside is in its visits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomDetail {
    #[serde(flatten)]
    room: Room,
    /// Changes of the room by time; the first 1000.
    changes: Vec<RoomChangeRow>,
    /// Occupied seats by time; the first 1000.
    seats: Vec<Stay>,
    /// Recording tasks, by time.
    recordings: Vec<Recording>,
    /// Statistics of a live room; null for conferences, and until they are computed.
    live: Option<Live>,
    /// Battles with other rooms by time; empty for conferences.
    battles: Vec<Battle>,
    /// Sessions of the RTC Engine's room of this session, the latest first; the first 20.
    rtc_sessions: Vec<RtcRoomSession>,
    /// The names of the lists above that are truncated: `/api/v1/events?room=` lists all events.
    lists_cut: Vec<String>,
}

async fn detail(
    request: &ApiRequest,
    path: SessionPath,
    family: Option<&str>,
) -> Result<Response, Problem> {
    request.read(())?;
    let ops = &request.ops;
    let room = find(ops, path, family).await?;
    let store = ops.reading.store()?;
    let question = async {
        let changes = store.room_changes(&room).await?;
        let seats = store.seats(&room).await?;
        let recordings = store.recordings(&Subject::Room(Box::new(room.clone()))).await?;
        let is_live = room.family == "live";
        let keys: Vec<_> = room.key().filter(|_| is_live).into_iter().collect();
        let live = store.live_sessions(&keys).await?.pop();
        let none = Details { rows: Vec::new(), is_cut: false };
        let battles = if is_live { store.battles(&room).await? } else { none };
        let rtc_sessions = rtc_sessions_of_room(&*store, &room).await?;
        let cut = [
            ("changes", changes.is_cut),
            ("seats", seats.is_cut),
            ("recordings", recordings.is_cut),
            ("battles", battles.is_cut),
            ("rtc_sessions", rtc_sessions.is_cut),
        ];
        let cut = cut.into_iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| name.to_owned());
        Ok(RoomDetail {
            room: room.clone(),
            changes: changes.rows,
            seats: seats.rows,
            recordings: recordings.rows,
            live,
            battles: battles.rows,
            rtc_sessions: rtc_sessions.rows,
            lists_cut: cut.collect(),
        })
    };
    list::json(&ops.reading.ask(question).await?)
}

/// One session of a room: `session` is its number, or `latest`.
#[utoipa::path(get, path = "/room-sessions/{app}/{room_id}/{session}", tag = "room sessions", params(SessionPath),
    responses((status = 200, body = RoomDetail)))]
pub(crate) async fn room(
    request: ApiRequest,
    PathOf(path): PathOf<SessionPath>,
) -> Result<Response, Problem> {
    detail(&request, path, None).await
}

/// One session of a live room: `session` is its number, or `latest`.
#[utoipa::path(get, path = "/live-sessions/{app}/{room_id}/{session}", tag = "live sessions", params(SessionPath),
    responses((status = 200, body = RoomDetail)))]
pub(crate) async fn live(
    request: ApiRequest,
    PathOf(path): PathOf<SessionPath>,
) -> Result<Response, Problem> {
    detail(&request, path, Some("live")).await
}

/// Answers with a list within one session, which `list` makes of the session and an account.
async fn within<L: list::Answered>(
    request: &ApiRequest,
    path: SessionPath,
    family: Option<&str>,
    list: fn(Room, Option<String>) -> L,
) -> Result<Response, Problem> {
    let (filter, page) = request.list(DetailFilter::default())?;
    let room = find(&request.ops, path, family).await?;
    // `latest` may be another one by the time of the next page.
    let name = format!("{} {} {} {}", L::Row::name(), room.sdk_app_id, room.room_id, room.session);
    list::answer_as(&request.ops.reading, &page, list(room, filter.account), &name).await
}

/// Who was in a room, within one of its sessions, the latest first.
#[utoipa::path(get, path = "/room-sessions/{app}/{room_id}/{session}/visits", tag = "room sessions",
    params(SessionPath, QueryOf<(DetailFilter, ListQuery)>), responses((status = 200, body = list::Items<Visit>)))]
pub(crate) async fn visits(
    request: ApiRequest,
    PathOf(path): PathOf<SessionPath>,
) -> Result<Response, Problem> {
    within(&request, path, None, |room, account| Visits { room, account }).await
}

/// Who was in a live room, within one of its sessions, the latest first.
#[utoipa::path(get, path = "/live-sessions/{app}/{room_id}/{session}/visits", tag = "live sessions",
    params(SessionPath, QueryOf<(DetailFilter, ListQuery)>), responses((status = 200, body = list::Items<Visit>)))]
pub(crate) async fn live_visits(
    request: ApiRequest,
    PathOf(path): PathOf<SessionPath>,
) -> Result<Response, Problem> {
    within(&request, path, Some("live"), |room, account| Visits { room, account }).await
}

/// Gifts in a live room, within one of its sessions, the latest first.
#[utoipa::path(get, path = "/live-sessions/{app}/{room_id}/{session}/gifts", tag = "live sessions",
    params(SessionPath, QueryOf<(DetailFilter, ListQuery)>), responses((status = 200, body = list::Items<GiftRow>)))]
pub(crate) async fn gifts(
    request: ApiRequest,
    PathOf(path): PathOf<SessionPath>,
) -> Result<Response, Problem> {
    within(&request, path, Some("live"), |room, account| Gifts { room, account }).await
}
