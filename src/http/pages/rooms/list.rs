//! Rooms: a list of their sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect};

use crate::callback::AppId;
use crate::clock::{TIME_HINT, UnixMillis};
use crate::http::ops::path_segment;
use crate::http::ops::state::Ops;
use crate::http::ui::error::PageError;
use crate::http::ui::filters::{Form, FormBuilder, Query};
use crate::http::ui::html::{
    Html, account_or, badge, inferred, link, moment_value, number, room_href, span, time,
};
use crate::http::ui::page::{Paged, Reading, Shown, answered, app, shown};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{ROOM_FAMILIES, ROOM_STATES, Room, RoomFilter, SESSION_EARLY_MS};

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

/// The conditions that lists of rooms and of sessions share.
pub(crate) fn asked(
    apps: &[AppId],
    query: &Query,
    action: &str,
    family: Option<&str>,
    now: UnixMillis,
) -> (RoomFilter, Form) {
    let mut asked = FormBuilder::new(action, query, now);
    let mut filter = RoomFilter {
        family: match family {
            Some(family) => Some(family.to_owned()),
            None => asked.choice("family", "Family", ROOM_FAMILIES),
        },
        state: asked.choice("state", "State", ROOM_STATES),
        room_id: asked.text("room", "Room id"),
        owner: asked.text("owner", "Owner"),
        app: asked.app(apps),
        ..RoomFilter::default()
    };
    [filter.since, filter.until] = asked.span();
    (filter, asked.done(&["after"]))
}

/// `GET /room-sessions`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let reading = Reading::of(&ops).await?;
    let query = Query::read(query.as_deref());
    let (filter, form) = asked(&ops.apps, &query, "/room-sessions", None, reading.now);
    let Shown { rows, older, is_later } =
        shown(reading.store, &filter, (&form, &query, "after")).await?;
    let rows = rows.iter().map(|room| row(room, reading.now)).collect();
    let shell = Shell::new("Rooms", Section::Rooms, reading.now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, older, is_later })
}

/// `GET /room-sessions/{app}/{room_id}`: leads to the latest session, or to the one that the moment `at` falls in.
pub(crate) async fn latest(
    State(ops): State<Arc<Ops>>,
    Path((app_id, room_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Paged {
    let reading = Reading::of(&ops).await?;
    let query = Query::read(query.as_deref());
    query.only(&["at", "app"])?;
    let wrong = || PageError::Parameter(format!("“at” is not a valid time: {TIME_HINT}."));
    let at = query.text("at");
    let at = at.map(|at| UnixMillis::parse(&at, reading.now).ok_or_else(wrong)).transpose()?;
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
