//! Rooms: a list of their sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect};

use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::query::Query;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, account_or, badge, inferred, link, moment_value, number, room_href, span, time,
};
use crate::http::ui::page::{Listed, Paged, Reading, answered, app, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{ConditionKind, Room, RoomFilter, SESSION_EARLY_MS, filter};
use protocol::UnixMillis;

#[derive(Template)]
#[template(path = "rooms.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<RoomRow>,
    older: Option<String>,
    is_later: bool,
}

/// One session of a room, as a row of a table.
pub(crate) struct RoomRow {
    pub(crate) room: Html,
    pub(crate) name: String,
    pub(crate) family: Html,
    pub(crate) state: Html,
    pub(crate) inferred: Html,
    pub(crate) started: Html,
    pub(crate) lasted: String,
    pub(crate) owner: Html,
    pub(crate) members: String,
    pub(crate) peak: String,
    pub(crate) visitors: String,
}

pub(crate) fn row(room: &Room, now: UnixMillis) -> RoomRow {
    RoomRow {
        room: link(&room_href(room.sdk_app_id, &room.room_id, room.session), &room.room_id),
        name: room.name.clone().unwrap_or_default(),
        family: badge(&room.family),
        state: badge(&room.state),
        inferred: inferred(room.inferred),
        started: time(room.started_at, now),
        lasted: span(room.ended_at.unwrap_or(now).0.saturating_sub(room.started_at.0)),
        owner: account_or(room.sdk_app_id, room.owner.as_deref()),
        members: number(room.members),
        peak: number(room.members_peak),
        visitors: number(room.visitors),
    }
}

/// `GET /room-sessions`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<RoomFilter>(&ops, "/room-sessions", query.as_deref()).await?;
    let rows = rows.iter().map(|room| row(room, now)).collect();
    let shell = Shell::new("Rooms", Section::Rooms, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

filter! {
    /// Which moment, of a room whose session is not known.
    #[derive(Default)]
    struct MomentQuery {
        /// The moment
        "at" "At" ConditionKind::Time => at: Option<UnixMillis>,
    }
}

/// `GET /room-sessions/{app}/{room_id}`: leads to the latest session, or to the one that the moment `at` falls in.
pub(crate) async fn latest(
    State(ops): State<Arc<Ops>>,
    Path((app_id, room_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let query = Query::read(query.as_deref());
    let MomentQuery { at } = query.filter(MomentQuery::default(), &["app"], reading.now)?;
    let room_id = path_segment::id(&room_id);
    let sessions = RoomFilter {
        app: Some(app(&app_id)?),
        room_id: Some(room_id.clone()),
        // A session holds what happened a little before its create.
        until: at.map(|at| UnixMillis(at.0.saturating_add(SESSION_EARLY_MS + 1))),
        limit: if at.is_some() { 20 } else { 1 },
        ..RoomFilter::default()
    };
    let sessions = reading.store.rooms(&sessions).await?;
    let holds = |room: &&Room| {
        at.is_none_or(|at| room.from_at <= at && room.until_at.is_none_or(|until| at < until))
    };
    let missing =
        || PageError::NotFound(format!("No event names a room “{room_id}” of app {app_id}."));
    let Some(room) = sessions.iter().find(holds) else {
        // An event names it, and no session has been made of that: it is so new, or not a room's.
        let at = at.ok_or_else(missing)?;
        let until = moment_value(at.plus(std::time::Duration::from_millis(1)));
        let id = path_segment::encoded(&room_id);
        let href = format!("/events?app={app_id}&room={id}&until={until}");
        return Ok(Redirect::to(&href).into_response());
    };
    let href = room_href(room.sdk_app_id, &room.room_id, room.session);
    Ok(Redirect::to(&href).into_response())
}
